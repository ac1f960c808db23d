"""Measures a process that does nothing but serve one model."""
