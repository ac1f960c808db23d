"""Cross-layer equalization (Nagel et al., 2019)."""
