"""Chooses the units of a model to prune."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from compress.core.batch import model_inputs
from compress.core.context import Batch, Loader, Task
from compress.core.progress import Progress, Silent
from compress.errors import StageError
from compress.models.structure.find import find_groups
from compress.models.structure.groups import Group, cut_units
from compress.pruning.allocation.by_sensitivity import ranking_by_sensitivity
from compress.pruning.allocation.choose import ChosenCounts, choose
from compress.pruning.allocation.search import Ranking, rank
from compress.pruning.cost.meter import Meter
from compress.pruning.cost.model import Cost, CostModel
from compress.pruning.importance.scores import scores
from compress.pruning.options import READ_LABELS, CutOptions, Quantity, Target
from compress.pruning.sensitivity.losses import Sensitivity
from compress.pruning.sensitivity.trials import ValidationSamples, measure_sensitivity
from compress.training.validation.scores import labelled_sums


@dataclass(frozen=True, eq=False)
class Evidence:
    """The inputs of the choice of units besides the weights.

    Attributes
    ----------
    calibration : labelled batches for the criteria that read data.
    validation : samples and metric to measure sensitivity with; None if it isn't measured.
    meter : measures size and latency; None if neither is a target.
    seed : the seed of random importance.
    progress : receives the progress.
    """

    calibration: Loader = ()
    validation: ValidationSamples | None = None
    meter: Meter | None = None
    seed: int = 0
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True, eq=False)
class Plan:
    """The units to prune.

    Attributes
    ----------
    groups : all groups that can be cut.
    units : (R,) int64 pruned units of each group.
    before, after : parameters, and MACs of one sample; `after` is predicted.
    target : the target to meet; None if ratios were given.
    notes : what is cut, what is left alone, and why.
    sensitivity : the loss of quality when each group is cut; None if it wasn't measured.
    """

    groups: Sequence[Group]
    units: Sequence[Tensor]
    before: Cost
    after: Cost
    notes: tuple[str, ...]
    target: Target | None = None
    sensitivity: Sensitivity | None = None

    @classmethod
    def of_nothing(cls, groups: Sequence[Group]) -> Plan:
        """The plan by which no units are pruned."""
        none = torch.empty(0, dtype=torch.int64)
        return cls(groups, [none] * len(groups), Cost(0, 0), Cost(0, 0), ())


def plan(
    module: nn.Module,
    options: CutOptions,
    *,
    task: Task,
    inputs: Batch,
    evidence: Evidence,
) -> Plan:
    """Choose the least important units, as many of each group as the target needs.

    Parameters
    ----------
    module : the module, in eval mode; it is left as it was.
    inputs : MACs are counted on their first sample.
    evidence : what the choice depends on besides the weights.

    Raises
    ------
    StageError : the module's structure is unknown, or a unit or criterion doesn't fit it.
    TargetError : the target can't be met. The message says the nearest that can.
    """
    single = {name: value[:1] for name, value in model_inputs(inputs).items()}
    found = find_groups(module, task=task, inputs=single, units=options.units)
    groups = found.groups
    values = scores(
        module,
        groups,
        criterion=options.importance,
        seed=evidence.seed,
        task=task,
        batches=_shown(evidence.calibration, evidence.progress),
        loss=_label_loss(task) if options.importance in READ_LABELS else None,
    )
    sensitivity = _sensitivity(module, groups, values, options, evidence)
    cost = CostModel(module, groups, task=task, inputs=single)
    ranking = _ranking(options, groups, values, sensitivity, cost)
    chosen = choose(
        module,
        ranking,
        options,
        cost=cost,
        meter=evidence.meter,
    )
    return Plan(
        groups,
        cut_units(ranking.order, chosen.counts),
        chosen.before,
        chosen.after,
        (*_describe(groups, chosen), *found.notes, *chosen.notes, *cost.macs.notes),
        options.target,
        sensitivity,
    )


def _sensitivity(
    module: nn.Module,
    groups: Sequence[Group],
    values: Sequence[Tensor],
    options: CutOptions,
    evidence: Evidence,
) -> Sensitivity | None:
    wanted = options.measures_sensitivity
    if wanted is None:
        return None
    if evidence.validation is None:
        raise StageError("sensitivity is measured on samples. There are none.")
    return measure_sensitivity(
        module,
        groups,
        values,
        samples=evidence.validation,
        ratios=wanted.ratios,
        progress=evidence.progress,
    )


def _shown(batches: Loader, progress: Progress) -> Iterator[Batch]:
    """Yield the batches, and report how many have been read."""
    if len(batches) == 0:
        return
    with progress.track("measure importance", len(batches)) as advance:
        for batch in batches:
            yield batch
            advance()


def _label_loss(task: Task) -> Callable[[nn.Module, Batch], Tensor]:
    """The exact loss of the task's labels, averaged over a batch's labels."""

    def loss(module: nn.Module, batch: Batch) -> Tensor:
        sums = labelled_sums(task, module, batch)
        return sums["loss"] / sums["entries"].clamp_min(1)

    return loss


def _ranking(
    options: CutOptions,
    groups: Sequence[Group],
    values: Sequence[Tensor],
    sensitivity: Sensitivity | None,
    cost: CostModel,
) -> Ranking:
    if options.ratios != "auto" or sensitivity is None:
        return rank(groups, values, scope=options.scope)
    quantity = options.target.quantity if options.target else "macs"
    counted: Quantity = "params" if quantity in ("params", "size") else "macs"
    return ranking_by_sensitivity(
        groups, values, sensitivity, lambda counts: cost.predict(counts).of(counted)
    )


def _describe(groups: Sequence[Group], chosen: ChosenCounts) -> list[str]:
    """One line for each kind of units; layers that are alike are not named."""
    lines = []
    for kind in dict.fromkeys(group.kind for group in groups):
        members = [(g, c) for g, c in zip(groups, chosen.counts, strict=True) if g.kind == kind]
        total, gone = sum(g.units for g, _ in members), sum(c for _, c in members)
        if kind == "channels":
            each = ", ".join(f"{g.name} {g.units - c} of {g.units}" for g, c in members)
        elif len({g.units for g, _ in members}) == 1:
            kept = ", ".join(str(g.units - c) for g, c in members)
            each = f"{kept} of {members[0][0].units} by layer"
        else:
            each = ", ".join(f"{g.units - c} of {g.units}" for g, c in members) + " by layer"
        lines.append(f"{kind} kept: {each} ({gone} of {total} cut).")
    return lines
