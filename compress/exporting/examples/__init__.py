"""Example scripts of a bundle, and the check that their answers are those measured."""
