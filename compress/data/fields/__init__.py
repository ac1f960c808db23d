"""Data of tasks that say themselves what a sample is: fields of raw samples, made into batches."""
