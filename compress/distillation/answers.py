"""The answers of a teacher or a student to a batch."""

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
    indices : (..., K) int64, indices of the kept classes.
    logits : (..., K) float32.
    tail : (...,) float32, logsumexp of the other classes' logits divided by the temperature.
    """

    indices: Tensor
    logits: Tensor
    tail: Tensor


@dataclass(frozen=True)
class Answers:
    """A model's answers to one batch. A student's have gradients, a teacher's have none.

    Attributes
    ----------
    logits : the task's output, (N, C), (N, S, V) or (N, S, H), or the part of it that was kept;
        None if no loss needs it.
    features : outputs of modules by their path: (N, H), (N, S, H) or (N, C, H, W).
    attentions : attention weights by the path of their layer, (N, heads, S, S).
    head : computes logits from the last hidden states, if `features` holds these instead of logits
        (see `compress.distillation.hidden`).
    outputs : every output by its name; empty if they come from a cache or weren't computed.
    """

    logits: Tensor | TopK | None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    attentions: Mapping[str, Tensor] = field(default_factory=dict)
    head: Callable[[Tensor], Tensor] | None = None
    outputs: Mapping[str, Tensor] = field(default_factory=dict)


class Teacher(Protocol):
    """A teacher that answers batches on their own device."""

    def __call__(self, batch: Batch) -> Answers:
        """Return its answers to a batch."""
        ...
