"""A run's data: where samples come from, their splits, labels, preprocessing and batches."""
