"""Makes a model's inputs from images."""
