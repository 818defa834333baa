"""Parameters of the study."""
