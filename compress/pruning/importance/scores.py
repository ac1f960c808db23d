"""The importance of each unit by one of several criteria."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from compress.errors import StageError, few
from compress.models.structure.groups import Group
from compress.pruning.importance.activations import activation
from compress.pruning.importance.batch_norm import batch_norm
from compress.pruning.importance.fpgm import fpgm
from compress.pruning.importance.gradients import hessian, taylor
from compress.pruning.importance.lamp import lamp
from compress.pruning.importance.magnitude import magnitude
from compress.pruning.importance.random import random
from compress.pruning.importance.weights import relative
from compress.pruning.options import Criterion

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

OF_A_GROUP: Mapping[Criterion, Callable[[nn.Module, Group], Tensor]] = {
    "magnitude": magnitude,
    "lamp": lamp,
    "fpgm": fpgm,
}
"""Criteria that need only the weights of a group's units."""
_BY_LOSS = {"taylor": taylor, "hessian": hessian}


def scores(
    module: nn.Module,
    groups: Sequence[Group],
    *,
    criterion: Criterion,
    seed: int,
    task: Task | None = None,
    batches: Iterable[Batch] = (),
    loss: Callable[[nn.Module, Batch], Tensor] | None = None,
) -> list[Tensor]:
    """The importance of each unit of each group, comparable over the groups of one kind.

    Only parameters count, and elements of shared parameters count once. Running statistics say
    nothing about importance. The module is left as it was.

    Parameters
    ----------
    criterion : the criterion; see the function of that name in this package.
    seed : the seed of "random".
    task : runs the module, for "activation".
    batches : inputs, and labels if the loss reads them, on the CPU. Only "taylor", "hessian" and
        "activation" read them, once. How the samples are batched makes no difference.
    loss : returns a batch's mean loss; "taylor" and "hessian" call it sample by sample.

    Returns
    -------
    (U,) float64 on the CPU of each group; higher is more important. All are relative to the group's
    mean, except for "batch_norm", "lamp" and "random", which have a scale of their own.

    Raises
    ------
    StageError : the criterion doesn't fit a group, lacks what it reads, or gives no finite number.
    """
    found = _scores(module, groups, criterion, seed=seed, task=task, batches=batches, loss=loss)
    broken = [g.name for g, s in zip(groups, found, strict=True) if not bool(s.isfinite().all())]
    if broken:
        raise StageError(
            f"importance {criterion!r} isn't a finite number for units of {few(broken)}. The "
            "model's weights or answers may not be finite."
        )
    return found


def _scores(
    module: nn.Module,
    groups: Sequence[Group],
    criterion: Criterion,
    *,
    seed: int,
    task: Task | None,
    batches: Iterable[Batch],
    loss: Callable[[nn.Module, Batch], Tensor] | None,
) -> list[Tensor]:
    if criterion in OF_A_GROUP:
        return [OF_A_GROUP[criterion](module, group) for group in groups]
    if criterion in _BY_LOSS:
        if loss is None:
            raise StageError(f"importance {criterion!r} needs a loss.")
        raw = _BY_LOSS[criterion](module, groups, batches=batches, loss=loss)
        # Without the division, layers that matter little would be cut nearly completely.
        return [relative(values) for values in raw]
    if criterion == "activation":
        if task is None:
            raise StageError("importance 'activation' needs a task that runs the module.")
        return activation(module, groups, task=task, batches=batches)
    if criterion == "batch_norm":
        return batch_norm(module, groups)
    if criterion == "random":
        return random(groups, seed=seed)
    raise TypeError(f"importance {criterion!r} has no function here.")
