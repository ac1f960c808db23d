"""Decides which units of a model are pruned."""

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
    """What decides besides the weights.

    Attributes
    ----------
    calibration : labelled batches for the criteria that read data.
    validation : on which sensitivity is measured, and by what; None where it isn't.
    meter : measures size and latency; None where neither is a target.
    seed : of random importance.
    progress : where to say how far it is.
    """

    calibration: Loader = ()
    validation: ValidationSamples | None = None
    meter: Meter | None = None
    seed: int = 0
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True, eq=False)
class Plan:
    """Which units are pruned.

    Attributes
    ----------
    groups : all that can be cut.
    units : of each group, (R,) int64, the pruned units.
    before, after : parameters, and MACs of one sample; `after` as predicted.
    target : what was to be met; None where ratios were given.
    notes : what is cut, what is left alone, and why.
    sensitivity : what each group costs when it is cut, where that was measured.
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
        """Where no units are pruned yet."""
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
    """Choose the least important units, so many of each group that the target is met.

    Parameters
    ----------
    module : in eval mode; left as it was.
    inputs : what MACs are counted on, by their first sample.
    evidence : see there.

    Raises
    ------
    StageError : the module's structure is unknown, or a unit or criterion doesn't fit it.
    TargetError : the target can't be met; it says the nearest that can.
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
    """The batches, and how many of them have been read."""
    if len(batches) == 0:
        return
    with progress.track("measure importance", len(batches)) as advance:
        for batch in batches:
            yield batch
            advance()


def _label_loss(task: Task) -> Callable[[nn.Module, Batch], Tensor]:
    """The exact loss of the task's labels, averaged over what a batch has of them."""

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
    """One line a kind; layers that are alike are not named."""
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
