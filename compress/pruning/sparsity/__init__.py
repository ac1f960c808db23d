"""Zeros in weights."""
