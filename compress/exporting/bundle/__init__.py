"""The content of a bundle."""
