"""Structured pruning: cuts the units of a plan, and checks that nothing else changed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from compress.core.batch import model_inputs
from compress.core.context import Batch, Task
from compress.errors import StageError, TargetError
from compress.models.structure.cut import cut, mask
from compress.pruning.allocation.choose import TOLERANCE, met
from compress.pruning.cost.model import Cost, count_cost
from compress.pruning.options import CutOptions
from compress.pruning.plan import Evidence, Plan, plan

SAME_ANSWER = 1e-4
"""Largest allowed difference from the masked original's answer, relative to its largest value."""


@dataclass(frozen=True)
class Pruned:
    """A smaller model.

    Attributes
    ----------
    module : the new module; it answers like the original with the cut units' weights at zero.
    before, after : parameters, and MACs of one sample.
    notes : what was cut, what was left alone, and why.
    """

    module: nn.Module
    before: Cost
    after: Cost
    notes: tuple[str, ...]


def prune(
    module: nn.Module,
    options: CutOptions,
    *,
    example_inputs: Batch,
    task: Task,
    evidence: Evidence | None = None,
) -> Pruned:
    """Cut the least important channels, neurons, heads or widths, so that the target is met.

    The outputs of layers that make the model's output are never cut.

    Parameters
    ----------
    module : the module, in eval mode; it is left as it was.
    options : what is cut, and how much.
    example_inputs : MACs are counted on their first sample; the result and the masked original are
        compared on all of them. `labels` are left out.
    task : runs the module.
    evidence : what the choice depends on besides the weights; None: on the weights alone.

    Raises
    ------
    StageError : the module's structure is unknown, or has nothing to cut.
    TargetError : the target can't be met. The message says the nearest that can.
    """
    made = plan(module, options, task=task, inputs=example_inputs, evidence=evidence or Evidence())
    return cut_out(module, made, example_inputs=example_inputs, task=task)


def cut_out(module: nn.Module, made: Plan, *, example_inputs: Batch, task: Task) -> Pruned:
    """Cut the units of a plan for this module, or for a module of the same structure.

    Raises
    ------
    StageError : the structure was misunderstood: the answer of the result differs from that of the
        module with the same units at zero, or its number of parameters from the predicted one.
    TargetError : MACs were the target, and differ from the predicted number.
    """
    inputs = model_inputs(example_inputs)
    smaller = cut(module, made.groups, made.units)
    _require_same_answer(smaller, mask(module, made.groups, made.units), task=task, inputs=inputs)
    single = {name: value[:1] for name, value in inputs.items()}
    after = count_cost(smaller, task=task, inputs=single)
    if after.params != made.after.params:
        raise StageError(
            f"{type(module).__name__} was misunderstood: pruned, it has {after.params:,} "
            f"parameters, {made.after.params:,} were predicted. It can't be pruned."
        )
    if made.target is not None and made.target.quantity == "macs":
        _require_predicted(after, made)
    notes = (*made.notes, _describe_cost(made.before, after, single))
    return Pruned(smaller, made.before, after, notes)


def _require_predicted(after: Cost, made: Plan) -> None:
    """Require the predicted MACs, as a target of MACs was met by prediction."""
    if met(after.macs, made.after.macs, TOLERANCE):
        return
    raise TargetError(
        f"MACs were predicted as {made.after.macs:,} and are {after.macs:,}: some layer's MACs "
        "aren't proportional to its weights. A target of params can be met."
    )


def _require_same_answer(
    smaller: nn.Module, masked: nn.Module, *, task: Task, inputs: Batch
) -> None:
    """Require that cutting gives the same answer as zeroing, or the structure was misunderstood."""
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


def _describe_cost(before: Cost, after: Cost, inputs: Batch) -> str:
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
    return (
        f"params {before.params:,} to {after.params:,} ({after.params / before.params:.1%}), "
        f"MACs {before.macs:,} to {after.macs:,} ({after.macs / before.macs:.1%}) for {shapes}."
    )
