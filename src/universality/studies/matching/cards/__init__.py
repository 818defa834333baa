"""Cards: matched features side by side, and which of them is the more general."""
