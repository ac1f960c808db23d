"""Differences between models that answered the same samples."""
