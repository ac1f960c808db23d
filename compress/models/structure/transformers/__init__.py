"""Descriptions of transformers families, and the units that can be cut from them."""
