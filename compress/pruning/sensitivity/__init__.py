"""What a model's answers lose when each group is cut."""
