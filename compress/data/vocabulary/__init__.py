"""Trains tokenizers, and cuts them to the tokens that data uses."""
