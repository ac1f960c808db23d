"""Runs side by side, compared sample by sample."""
