"""What every study uses: files, text, models, activations, sparse engine, nulls."""
