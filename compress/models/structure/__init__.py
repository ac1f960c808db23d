"""What belongs together in a model, and how it is made smaller."""
