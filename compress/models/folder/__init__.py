"""What the files of a model's folder say. No torch here."""
