"""The paper: its numbers, tables and published claims from the metrics, and its PDF."""
