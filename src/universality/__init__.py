"""Do different language models learn the same features? The library behind the pipeline."""
