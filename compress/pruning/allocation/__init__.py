"""Chooses the number of units to prune in each group."""
