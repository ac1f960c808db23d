"""Sensitivity: how a model's answers change when each group is cut."""
