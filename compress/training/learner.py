"""A student and its loss as one module, which accelerate wraps and each step calls."""

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
"""Number of samples or tokens over which each part of a loss is averaged."""
EVERY_PART = "*"
"""Key for every part of a loss without counts of its own."""


@runtime_checkable
class Loss(Protocol):
    """The loss that a student minimises.

    If it is an `nn.Module`, its parameters train with the student's. A teacher must not be
    registered in it.
    """

    def __call__(self, student: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """The weighted parts by name, each a scalar averaged as `counts` says; their sum is the
        loss. Batches are on the student's device; those of the train split have `sample_ids`."""
        ...

    def counts(self, batch: Batch) -> Counts:
        """Number of samples or tokens over which each part is averaged for this batch; 0 if none
        count. The batch is the one that the call will get, on the CPU."""
        ...


LossFunction = Callable[[nn.Module, Batch], Tensor | Mapping[str, Tensor]]
"""A loss without `counts`: a scalar, or weighted parts, averaged over samples."""


class Learner(nn.Module):
    """The student, together with the loss if that is a module.

    So one module holds the student's hooks and the loss's projections, and DDP or FSDP wrap it as a
    whole.

    Parameters
    ----------
    student : the student, on its device already.
    loss : the loss; a module is moved to the student's device, and its parameters are trained in
        place.
    """

    def __init__(self, student: nn.Module, loss: Loss | LossFunction) -> None:
        super().__init__()
        self.student = student
        if isinstance(loss, nn.Module):
            loss.to(next(student.parameters()).device)
        self.loss = loss
        # accelerate's FSDP reads from this attribute how to shard a transformers model.
        self._no_split_modules = getattr(student, "_no_split_modules", None)

    def forward(self, batch: Batch, work: LossFunction | None = None) -> Mapping[str, Tensor]:
        """The loss's parts, or the result of other `work` on the student, such as scoring."""
        given = work or self.loss
        made = given(self.student, batch)
        return {"loss": made} if isinstance(made, Tensor) else made


def counts_of(loss: Loss | LossFunction, batch: Batch) -> Counts:
    """The counts of each part of a loss in a batch; the samples if the loss doesn't tell them."""
    return loss.counts(batch) if isinstance(loss, Loss) else {EVERY_PART: sample_count(batch)}


def added(counts: Iterable[Counts]) -> Counts:
    """The sum of counts for each part."""
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def count_for(part: str, counts: Counts) -> int:
    """The count of one part.

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

    Each part is weighted by its count here divided by its count in the whole step. The sum over
    micro-batches and processes is then the loss of all samples as one batch.
    """
    values = []
    for name, part in parts.items():
        everything = count_for(name, total)
        share = count_for(name, own) / everything if everything else 0.0
        values.append(part.float() if share == 1 else part.float() * share)
    return values[0] if len(values) == 1 else torch.stack(values).sum()
