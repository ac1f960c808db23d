"""Removing whole layers."""
