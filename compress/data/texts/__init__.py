"""Makes a model's inputs from texts."""
