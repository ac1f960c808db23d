"""Log-probabilities, and the divergence between them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from compress.distillation.losses.rows import precise

LOWEST = -1e30
"""Stands for log 0: finite, so that 0 · log 0 is 0 and not NaN, and its exponential is 0."""


def log_probabilities(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature) over the last dimension, with log 0 = `LOWEST`."""
    return F.log_softmax(precise(logits) / temperature, dim=-1).clamp_min(LOWEST)


def kl(first: Tensor, second: Tensor) -> Tensor:
    """KL(first ‖ second) in nats of log-probabilities (..., C), as (...)."""
    return (first.exp() * (first - second)).sum(-1)
