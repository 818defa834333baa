"""Matching: which feature of one model is which feature of another."""
