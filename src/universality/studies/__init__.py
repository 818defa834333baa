"""One folder a study: its parameters, stages, science and figures."""
