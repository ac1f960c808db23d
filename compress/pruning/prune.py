"""Structured pruning to a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from compress.core.batch import model_inputs
from compress.errors import StageError, TargetError
from compress.models.families import FAMILIES, family
from compress.pruning.cost import Cost, CostModel, count_cost
from compress.pruning.cut import cut, mask
from compress.pruning.described import family_groups
from compress.pruning.groups import Group, cut_units, importance
from compress.pruning.options import Scope, Target, Unit
from compress.pruning.search import allowed, rank, search
from compress.pruning.traced import channel_groups

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

TOLERANCE = 0.02
"""Relative distance from the target that counts as met."""
SAME_ANSWER = 1e-3
"""Largest difference from the masked original's answer, relative to its largest value."""


@dataclass(frozen=True)
class Pruned:
    """A smaller model.

    Attributes
    ----------
    module : new; answers as the original would with the cut units' weights at zero.
    before, after : parameters, and MACs of one sample.
    notes : what was cut, what was left alone, and why.
    """

    module: nn.Module
    before: Cost
    after: Cost
    notes: tuple[str, ...]


def prune(
    module: nn.Module,
    *,
    target: Target,
    example_inputs: Batch,
    task: Task,
    units: Sequence[Unit] = ("feed_forward", "heads"),
    scope: Scope = "global",
    round_to: int | None = None,
) -> Pruned:
    """Cut the least important channels, feed-forward neurons and heads, until the target is met.

    Importance is the L2 norm of all weights that go with a unit, relative to its layer's mean. The
    hidden width of transformers, and every layer that makes the model's output, stay.

    Parameters
    ----------
    module : in eval mode; left as it was.
    target : the fraction of MACs or parameters that remains.
    example_inputs : what MACs are counted on, by their first sample; `labels` are left out.
    task : runs the module.
    units : what is cut from transformers; other modules lose channels.
    scope : "global" compares units over all layers, "layer" cuts the same fraction of each.
    round_to : every layer keeps a multiple of this many channels or neurons (of heads: at least
        one); None: see `compress.pruning.search.step_of`.

    Raises
    ------
    StageError : the module's structure is unknown, or has nothing to cut.
    TargetError : the target can't be met; it says the nearest that can.
    """
    inputs = {name: value[:1] for name, value in model_inputs(example_inputs).items()}
    groups, alone = _find_groups(module, task=task, inputs=inputs, units=units)
    scores = [importance(module, group) for group in groups]
    ranking = rank(groups, scores, scope=scope)
    model = CostModel(module, groups, task=task, inputs=inputs)
    before = model.total
    counts = search(
        groups,
        ranking,
        lambda counts: float(model.predict(counts).of(target.quantity)),
        target=target.fraction * before.of(target.quantity),
        round_to=round_to,
    )
    least = model.predict([allowed(g, g.units, round_to=round_to) for g in groups])
    _require_met(model.predict(counts), least, before, target=target, round_to=round_to)
    gone = cut_units(ranking.order, counts)
    smaller = cut(module, groups, gone)
    _require_same_answer(smaller, mask(module, groups, gone), task=task, inputs=inputs)
    after = count_cost(smaller, task=task, inputs=inputs)
    _require_met(after, least, before, target=target, round_to=round_to)
    notes = (*_describe(groups, counts), *alone, _describe_cost(before, after, inputs))
    return Pruned(smaller, before, after, notes)


def _find_groups(
    module: nn.Module, *, task: Task, inputs: Batch, units: Sequence[Unit]
) -> tuple[list[Group], tuple[str, ...]]:
    if family(module) is not None:
        groups = family_groups(module, units=units)
        kinds = {group.kind for group in groups}
        left = [unit for unit in ("heads", "feed_forward") if unit not in kinds]
        alone = tuple(f"{unit} were left alone: 'units' doesn't name them." for unit in left)
        stays = (
            "embeddings, hidden width and classifier were left alone: only heads and neurons go."
        )
        return groups, (*alone, stays)
    if not any(isinstance(part, _ConvNd) for part in module.modules()):
        kind = getattr(getattr(module, "config", None), "model_type", None)
        name = type(module).__name__ + (f" (model_type {kind!r})" if kind else "")
        raise StageError(
            f"prune doesn't know the structure of {name}: it has no convolution, and isn't one of "
            f"the transformers families {', '.join(sorted(FAMILIES))}."
        )
    groups, reasons = channel_groups(module, task=task, inputs=inputs)
    if not groups:
        raise StageError(
            f"{type(module).__name__} has no channels that can be cut. {' '.join(reasons)}"
        )
    return groups, reasons


def _require_met(
    reached: Cost, least: Cost, before: Cost, *, target: Target, round_to: int | None
) -> None:
    whole = before.of(target.quantity)
    fraction = reached.of(target.quantity) / whole
    if abs(fraction - target.fraction) <= TOLERANCE * target.fraction:
        return
    lowest = least.of(target.quantity) / whole
    raise TargetError(
        f"target {target.quantity}: {target.fraction:g} can't be met within {TOLERANCE:.0%}. The "
        f"nearest is {fraction:.4f}; as little as {lowest:.4f} can remain. Layers keep multiples "
        f"of round_to ({round_to or 'up to 8'}) channels or neurons: a smaller one is finer."
    )


def _require_same_answer(
    smaller: nn.Module, masked: nn.Module, *, task: Task, inputs: Batch
) -> None:
    """Guards against structures that were misunderstood: cutting must do what zeroing does."""
    with torch.no_grad():
        wanted = task.logits(masked, inputs)
        try:
            answer = task.logits(smaller, inputs)
        except (RuntimeError, ValueError) as error:
            raise StageError(
                f"{type(smaller).__name__} doesn't run once it is pruned; its forward may name "
                f"sizes: {error}"
            ) from error
    difference = _relative(answer, wanted)
    if not difference <= SAME_ANSWER:
        raise StageError(
            f"{type(smaller).__name__} was misunderstood: pruned, it differs by {difference:.1e} "
            f"(relative) from itself with the same units zeroed. It can't be pruned."
        )


def _relative(answer: Tensor, wanted: Tensor) -> float:
    scale = wanted.abs().max().clamp_min(1e-12)
    return float(((answer - wanted).abs().max() / scale).item())


def _describe(groups: Sequence[Group], counts: Sequence[int]) -> list[str]:
    """One line a kind; layers that are alike are not named."""
    lines = []
    for kind in dict.fromkeys(group.kind for group in groups):
        members = [(g, c) for g, c in zip(groups, counts, strict=True) if g.kind == kind]
        total, gone = sum(g.units for g, _ in members), sum(c for _, c in members)
        if kind == "channels":
            each = ", ".join(f"{g.name} {g.units - c} of {g.units}" for g, c in members)
        else:
            kept = ", ".join(str(g.units - c) for g, c in members)
            each = f"{kept} of {members[0][0].units} by layer"
        lines.append(f"{kind} kept: {each} ({gone} of {total} cut).")
    return lines


def _describe_cost(before: Cost, after: Cost, inputs: Batch) -> str:
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
    return (
        f"params {before.params:,} to {after.params:,} ({after.params / before.params:.1%}), "
        f"MACs {before.macs:,} to {after.macs:,} ({after.macs / before.macs:.1%}) for {shapes}."
    )
