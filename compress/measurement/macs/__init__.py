"""Multiply-accumulates of graphs and modules."""
