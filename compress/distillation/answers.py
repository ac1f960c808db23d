"""What a teacher says of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from compress.core.context import Batch


@dataclass(frozen=True)
class TopK:
    """The largest logits, and the mass of all others.

    Attributes
    ----------
    indices : (..., K) int64, of the kept classes.
    logits : (..., K) float32.
    tail : (...,) float32, logsumexp of the other classes' logits divided by the temperature.
    """

    indices: Tensor
    logits: Tensor
    tail: Tensor


@dataclass(frozen=True)
class Answers:
    """Of one batch; a teacher's are without gradients, a student's with.

    Attributes
    ----------
    logits : the task's output, (N, C), (N, S, V) or (N, S, H); or what was kept of it; None where
        no loss asks for it.
    features : outputs of the teacher's modules by their path: (N, H), (N, S, H) or (N, C, H, W).
    attentions : attention weights by the path of the layer that they belong to, (N, heads, S, S).
    head : makes logits of the last hidden states, where these stand in `features` instead of logits
        (see `compress.distillation.hidden`).
    """

    logits: Tensor | TopK | None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    attentions: Mapping[str, Tensor] = field(default_factory=dict)
    head: Callable[[Tensor], Tensor] | None = None


class Teacher(Protocol):
    """Answers batches on their own device."""

    def __call__(self, batch: Batch) -> Answers:
        """Its answers for a batch."""
        ...
