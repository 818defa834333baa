"""Under what conditions features are shared: L0, width, architecture, training."""
