"""Maps the data's labels to a model's."""
