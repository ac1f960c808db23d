"""Tokenizers: trained, and cut to the tokens that data uses."""
