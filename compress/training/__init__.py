"""One training loop, on `accelerate`, for training, distillation and recovery after pruning."""
