"""Depth pruning: removes whole layers."""
