"""Scores of a model while it trains, and the best of them."""
