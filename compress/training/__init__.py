"""The one training loop, on `accelerate`, of training, distillation and recovery after pruning."""
