"""Structured pruning: cuts channels, feed-forward neurons and attention heads out of a model."""
