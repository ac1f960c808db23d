"""Described families of transformers."""
