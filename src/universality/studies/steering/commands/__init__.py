"""One file a command that people call."""
