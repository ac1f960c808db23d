"""Tries whether a module still runs without some of its units: its code may name their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from compress.models.structure.cut import cut
from compress.models.structure.groups import Group

if TYPE_CHECKING:
    from compress.core.context import Batch, Task


def fixed_by_code(
    module: nn.Module, groups: Sequence[Group], *, task: Task, inputs: Batch
) -> list[Group]:
    """The groups that the module doesn't run without a unit of, as `view(-1, 64, 7)` doesn't.

    If it runs when all groups have lost some, there are none, and none is tried alone. Groups that
    must lose equally many are among them: each can be cut without the others.

    Parameters
    ----------
    module : the module, in eval mode; it is left as it was.
    inputs : an example.
    """
    several = [group for group in groups if group.units > 1]
    if _runs(module, several, task=task, inputs=inputs):
        return []
    return [one for one in several if not _runs(module, [one], task=task, inputs=inputs)]


def _runs(module: nn.Module, groups: Sequence[Group], *, task: Task, inputs: Batch) -> bool:
    # One, two or three of each group, as groups that must lose equally many aren't told apart.
    counts = [min(1 + number % 3, group.units - 1) for number, group in enumerate(groups)]
    smaller = cut(module, groups, [torch.arange(count) for count in counts])
    try:
        with torch.no_grad():
            task.logits(smaller, inputs)
    except (RuntimeError, ValueError, TypeError, LookupError):
        return False  # it is foreign code, and whatever it says of this is of no use to anybody
    return True
