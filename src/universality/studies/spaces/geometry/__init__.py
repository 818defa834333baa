"""The geometry of features: maps, clusters, and words that may lie on a circle."""
