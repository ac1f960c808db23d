"""Weights stored in 8 or 16 bits, and computed with in float."""
