"""Finds the units that can be cut from a module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from compress.errors import StageError
from compress.models.low_rank import LowRankLayer
from compress.models.structure.groups import Group
from compress.models.structure.tracing.trace import traced_groups
from compress.models.structure.transformers.families import LAYOUTS, family, laid_out_layers
from compress.models.structure.transformers.groups import family_groups, prunable
from compress.models.structure.unit import Unit

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

BY_DEFAULT: tuple[Unit, ...] = ("feed_forward", "heads")
"""Kinds of units that are cut from transformers by default."""


class FoundGroups(NamedTuple):
    """The groups of units that can be cut.

    Attributes
    ----------
    groups : the groups.
    notes : what is left alone, and why.
    """

    groups: list[Group]
    notes: tuple[str, ...]


def find_groups(
    module: nn.Module,
    *,
    task: Task,
    inputs: Batch,
    units: Sequence[Unit] | None,
    limit_s: float = 60.0,
) -> FoundGroups:
    """Find the units that can be cut, by the description of the module's family or by tracing it.

    Parameters
    ----------
    task : runs the module.
    inputs : an example to trace it with.
    units : the kinds of units to cut; None for the default: feed-forward neurons and heads of
        transformers of described families, all that there are of other modules.
    limit_s : the largest number of seconds that tracing may take.

    Raises
    ------
    StageError : a kind of unit can't be cut from the model, its structure can't be understood, or
        nothing can be cut.
    """
    kind = family(module)
    if kind is not None:
        return _described(module, kind, task=task, units=units or BY_DEFAULT)
    return _traced(module, units, *traced_groups(module, task=task, inputs=inputs, limit_s=limit_s))


def _traced(
    module: nn.Module, units: Sequence[Unit] | None, groups: list[Group], notes: tuple[str, ...]
) -> FoundGroups:
    """The groups of these kinds among those that tracing found."""
    name, kinds = _name(module), dict.fromkeys(group.kind for group in groups)
    if not groups:
        raise StageError(f"{name} has no channels that can be cut. {' '.join(notes)}")
    strange = [unit for unit in units or () if unit not in kinds]
    if strange:
        raise StageError(
            f"{name} can't lose {strange[0]}: it belongs to no described family. It is traced, "
            f"and can lose only {', '.join(kinds)}. {' '.join(notes)}".rstrip()
        )
    wanted = [group for group in groups if units is None or group.kind in units]
    left = [kind for kind in kinds if units is not None and kind not in units]
    if left:
        notes += (f"left alone, as 'units' doesn't name them: {', '.join(left)}.",)
    return FoundGroups(wanted, notes)


def _described(module: nn.Module, kind: str, *, task: Task, units: Sequence[Unit]) -> FoundGroups:
    name = _name(module)
    if _has_another_decoder(module, kind):
        raise StageError(
            f"{name} can't be pruned: it has both an encoder and a decoder, and of its family only "
            "models with one of the two are described."
        )
    split = next((path for path, p in module.named_modules() if isinstance(p, LowRankLayer)), None)
    if split is not None:
        raise StageError(
            f"{name} can't be pruned any more: an earlier stage split {split}, among others, into "
            "two layers. Prune first, and split after it."
        )
    can = prunable(kind)
    reasons = {unit: can[unit] or _by_task(unit, task) for unit in can}
    for unit in units:
        if reasons[unit] is not None:
            able = ", ".join(other for other in can if reasons[other] is None)
            raise StageError(f"{name} can't lose {unit}: {reasons[unit]}. It can lose {able}.")
    left = [unit for unit in can if unit not in units and can[unit] is None]
    notes = [f"left alone, as 'units' doesn't name them: {', '.join(left)}."] if left else []
    return FoundGroups(family_groups(module, units=units), tuple(notes))


def _has_another_decoder(module: nn.Module, kind: str) -> bool:
    """Return whether a module has a decoder whose layers aren't laid out as its encoder's."""
    decoder = [path for path, _ in module.named_modules() if "decoder" in path.split(".")]
    both = getattr(module.config, "is_encoder_decoder", False) and bool(decoder)
    alike = (path for form in LAYOUTS[kind].forms for path in laid_out_layers(module, form))
    return both and decoder[0] not in {path[: len(decoder[0])] for path in alike}


def _by_task(unit: Unit, task: Task) -> str | None:
    """The reason why the task forbids cutting a unit, or None."""
    if unit == "hidden" and task.target == "none":
        return f"its hidden units are what {task.name} answers"
    return None


def _name(module: nn.Module) -> str:
    kind = getattr(getattr(module, "config", None), "model_type", None)
    return type(module).__name__ + (f" (model_type {kind!r})" if kind else "")
