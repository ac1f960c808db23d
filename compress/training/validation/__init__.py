"""Scores of a model during its training, and the best of them."""
