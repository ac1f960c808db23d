"""From the data's labels to a model's."""
