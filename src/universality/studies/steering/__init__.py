"""Steering vectors: what adding a direction to the residual stream changes."""
