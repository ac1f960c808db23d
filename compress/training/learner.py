"""A student and its loss as one module: what accelerate wraps, and what a step calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from compress.core.context import Batch
from compress.errors import StageError
from compress.training.batches import sample_count

Counts = Mapping[str, int]
"""For each part of a loss, over how many samples or tokens it is averaged."""
EVERY_PART = "*"
"""Stands for each part of a loss that doesn't say what it counts."""


@runtime_checkable
class Loss(Protocol):
    """What a student minimises.

    Where it is an `nn.Module` its parameters train as the student's do; a teacher must not be
    registered in it.
    """

    def __call__(self, student: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """The weighted parts by name, each a scalar averaged over what it counts; their sum is the
        loss. Batches are on the student's device; those of the train split have `sample_ids`."""
        ...

    def counts(self, batch: Batch) -> Counts:
        """Over how many samples or tokens each part that this batch will have is averaged; 0 where
        nothing counts. The batch is the one that will be given to the call, on the CPU."""
        ...


LossFunction = Callable[[nn.Module, Batch], Tensor | Mapping[str, Tensor]]
"""A loss without `counts`: a scalar, or weighted parts, averaged over samples."""


class Learner(nn.Module):
    """The student, and the loss where that is a module.

    Hooks on the student's submodules, projections and whatever wraps the learner (DDP, FSDP) so
    work in one place.

    Parameters
    ----------
    student : already placed on its device.
    loss : where it is a module it is moved to the student's device, and its parameters are trained
        in place.
    """

    def __init__(self, student: nn.Module, loss: Loss | LossFunction) -> None:
        super().__init__()
        self.student = student
        if isinstance(loss, nn.Module):
            loss.to(next(student.parameters()).device)
        self.loss = loss
        # accelerate's FSDP reads here which blocks a transformers model is sharded by.
        self._no_split_modules = getattr(student, "_no_split_modules", None)

    def forward(self, batch: Batch, work: LossFunction | None = None) -> Mapping[str, Tensor]:
        """The loss's parts, or what other work does with the student (such as scoring it)."""
        given = work or self.loss
        made = given(self.student, batch)
        return {"loss": made} if isinstance(made, Tensor) else made


def counts_of(loss: Loss | LossFunction, batch: Batch) -> Counts:
    """What each part of a loss counts in a batch; samples where it doesn't say."""
    return loss.counts(batch) if isinstance(loss, Loss) else {EVERY_PART: sample_count(batch)}


def added(counts: Iterable[Counts]) -> Counts:
    """The sums by part."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def count_for(part: str, counts: Counts) -> int:
    """What a part counts.

    Raises
    ------
    StageError : the loss has a part that its counts don't name.
    """
    found = counts.get(part, counts.get(EVERY_PART))
    if found is None:
        raise StageError(f"the loss counts {', '.join(counts) or 'nothing'}, but has {part!r} too.")
    return found


def weighed(parts: Mapping[str, Tensor], own: Counts, total: Counts) -> Tensor:
    """A micro-batch's contribution to the step's loss, in fp32.

    Each part has the share (what it counts here) / (what it counts in the whole step), so that the
    sum over micro-batches and processes is the loss of all samples taken as one batch.
    """
    values = []
    for name, part in parts.items():
        everything = count_for(name, total)
        share = count_for(name, own) / everything if everything else 0.0
        values.append(part.float() if share == 1 else part.float() * share)
    return values[0] if len(values) == 1 else torch.stack(values).sum()
