"""Tries a module without some of its units: its code may name or compute with their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from compress.models.structure.cut import cut, mask
from compress.models.structure.groups import Group

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

DIFFERENCE = 1e-3
"""Largest difference of the answer without some units from that with zeros in their places,
relative to its largest value; rounding stays well below."""
NAMES = "the model's code names their number"
COMPUTES = "the model's code computes with their number"


def fixed_by_code(
    module: nn.Module, groups: Sequence[Group], *, task: Task, inputs: Batch
) -> list[tuple[Group, str]]:
    """The groups that no unit can be taken of, and the reason of each.

    The module doesn't run without one, as `view(-1, 64, 7)` doesn't; or it runs and answers
    otherwise than with zeros in its place, as `unflatten(-1, (4, -1))` reads other heads then.

    If all groups can lose some together, there are none, and none is tried alone. Groups that must
    lose equally many are among them: each can be cut without the others.

    Parameters
    ----------
    module : the module, in eval mode; it is left as it was.
    inputs : an example.
    """
    several = [group for group in groups if group.units > 1]
    if _fault(module, several, task=task, inputs=inputs) is None:
        return []
    tried = ((one, _fault(module, [one], task=task, inputs=inputs)) for one in several)
    return [(one, fault) for one, fault in tried if fault is not None]


def _fault(module: nn.Module, groups: Sequence[Group], *, task: Task, inputs: Batch) -> str | None:
    # One, two or three of each group, as groups that must lose equally many aren't told apart.
    counts = [min(1 + number % 3, group.units - 1) for number, group in enumerate(groups)]
    units = [torch.arange(count) for count in counts]
    smaller, masked = cut(module, groups, units), mask(module, groups, units)
    with torch.no_grad():
        try:
            answer = task.logits(smaller, inputs)
        except (RuntimeError, ValueError, TypeError, LookupError):
            return NAMES  # it is foreign code, and whatever it says of this is of no use to anybody
        wanted = task.logits(masked, inputs)
    if answer.shape != wanted.shape:
        return COMPUTES
    scale = wanted.abs().max().clamp_min(1e-12)
    return None if (answer - wanted).abs().max() <= DIFFERENCE * scale else COMPUTES
