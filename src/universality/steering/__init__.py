"""Steering vectors: what they change downstream, and what they are made of."""
