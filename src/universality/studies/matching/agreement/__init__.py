"""Agreement of matched features beyond the correlation of their activations."""
