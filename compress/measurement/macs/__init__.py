"""Counts multiply-accumulates of graphs and modules."""
