"""Weights: their digests, whether they are finite, and modules without them."""
