"""Example scripts of a bundle, and the proof that they answer as measured."""
