"""The `prune` stage."""
