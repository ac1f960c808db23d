"""Weights in 4 or 8 bits with a scale for every block; activations stay in float."""
