"""What a model is for: the task's inputs, outputs and metrics."""
