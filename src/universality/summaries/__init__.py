"""Summaries of the studies: numbers by id and metric, from their tables."""
