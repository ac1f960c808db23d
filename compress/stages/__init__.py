"""Thin adapters: a stage's fields are its recipe keys, and `apply` calls one method's package."""
