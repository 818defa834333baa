"""Hierarchical and categorical concepts in a model's representations (Park et al. 2024).

Arrays in, arrays out; the stages read and write the files.
"""
