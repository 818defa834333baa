"""Sparse autoencoders: training, evaluation, and the study of what makes them good."""
