"""Parameters of what every study uses."""
