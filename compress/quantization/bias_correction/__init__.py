"""Bias correction (Nagel et al., 2019)."""
