"""Limits on the figures of a run."""
