"""One file a stage of the pipeline: its command."""
