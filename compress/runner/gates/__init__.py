"""Judges the rows of a run by the gates of its recipe."""
