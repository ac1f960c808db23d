"""The tasks that models are for: their inputs, outputs and metrics."""
