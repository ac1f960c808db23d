"""Several processes on one training."""
