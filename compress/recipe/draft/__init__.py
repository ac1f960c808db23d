"""The draft of a recipe, from what a model's files and the data's first rows say: no torch."""
