"""Puts together what a run reports, and writes it."""
