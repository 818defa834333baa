"""Offline pages about the features of an SAE."""
