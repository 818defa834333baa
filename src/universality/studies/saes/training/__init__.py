"""Training: the loop, the step that touches only active features, and SAELens' own."""
