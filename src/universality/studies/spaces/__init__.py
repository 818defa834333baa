"""Spaces of two models: CCA and its relatives, maps, circles."""
