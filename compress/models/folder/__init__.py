"""Reads the files of a model's folder. No torch here."""
