"""Weights: their digests, a check that they are finite, and modules without them."""
