"""Runs real samples through a float model and finds the ranges of its activations."""
