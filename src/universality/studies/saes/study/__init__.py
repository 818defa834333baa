"""The study of SAEs: what features are, where errors are, what width and remedies do."""
