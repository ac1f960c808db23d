"""Chooses the number of units to prune in each group, for a target or for explicit ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from compress.errors import StageError, TargetError
from compress.models.structure.cut import cut
from compress.models.structure.groups import Group, cut_units
from compress.pruning.allocation.ratios import ratio_counts
from compress.pruning.allocation.search import Costs, Ranking, choices, search
from compress.pruning.allocation.secant import Approach, approach
from compress.pruning.cost.meter import Meter
from compress.pruning.cost.model import Cost, CostModel
from compress.pruning.options import CutOptions, Target

TOLERANCE = 0.02
"""Largest relative distance at which a target of parameters, MACs or bytes counts as met."""
LATENCY_TOLERANCE = 0.05
"""Largest relative distance at which a target of latency counts as met."""
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class ChosenCounts:
    """The chosen number of units to prune in each group.

    Attributes
    ----------
    counts : number of units to prune in each group.
    before, after : cost of the module, and its predicted cost once it is pruned.
    notes : how a measured target was met, and what rounding changed.
    """

    counts: list[int]
    before: Cost
    after: Cost
    notes: tuple[str, ...] = ()


def choose(
    module: nn.Module,
    ranking: Ranking,
    options: CutOptions,
    *,
    cost: CostModel,
    meter: Meter | None = None,
) -> ChosenCounts:
    """Choose the number of least important units to prune in each group.

    Parameters
    ----------
    module : the module, in eval mode; it is left as it was.
    options : `target`, or `ratios` by pattern of groups' names; `max_ratio` and `round_to`.
    cost : predicts the module's cost, counted on one sample.
    meter : measures size and latency; needed if the target is one of them.

    Raises
    ------
    StageError : a pattern matches nothing, or the target is measured and there is no meter.
    TargetError : the target can't be met. The message says the nearest and the least fraction that
        can.
    """
    groups = cost.groups
    every = choices(groups, max_ratio=options.max_ratio, round_to=options.round_to)
    target = options.target
    if target is None:
        ratios = options.ratios if isinstance(options.ratios, dict) else {}
        counts, notes = ratio_counts(groups, ratios, choices=every)
        return ChosenCounts(counts, cost.total, cost.predict(counts), notes)
    problem = _Problem(module, groups, ranking, target, every)
    if target.quantity in ("params", "macs"):
        counts, notes = _counted(problem, cost), ()
    elif meter is None:
        raise StageError(f"a target of {target.quantity} is measured, but no meter was given.")
    elif target.quantity == "size":
        counts, notes = _sized(problem, cost, meter)
    else:
        counts, notes = _timed(problem, cost, meter)
    return ChosenCounts(counts, cost.total, cost.predict(counts), notes)


@dataclass(frozen=True)
class _Problem:
    module: nn.Module
    groups: Sequence[Group]
    ranking: Ranking
    target: Target
    choices: list[list[int]]

    @property
    def most(self) -> list[int]:
        """The largest number of units that can be pruned in each group."""
        return [each[-1] for each in self.choices]

    def cut(self, counts: Sequence[int]) -> nn.Module:
        """The module without `counts[g]` units of group g."""
        return cut(self.module, self.groups, cut_units(self.ranking.order, counts))

    def search(self, cost: Costs, *, target: float) -> list[int]:
        """The counts whose predicted cost is nearest to a target."""
        return search(self.ranking, cost, target=target, choices=self.choices)

    def approach(
        self, cost: Costs, measure: Callable[[Sequence[int]], float], *, tolerance: float
    ) -> Approach:
        """Counts whose measured fraction is within the tolerance of the target.

        Raises
        ------
        TargetError : no such counts were found.
        """
        found = approach(
            lambda asked: self.search(cost, target=asked),
            measure,
            target=self.target.fraction,
            tolerance=tolerance,
        )
        if not met(found.measured, self.target.fraction, tolerance):
            raise self.unmet(found.measured, measure(self.most), tolerance)
        return found

    def unmet(self, nearest: float, least: float, tolerance: float) -> TargetError:
        """The error for a target that can't be met."""
        return TargetError(
            f"target {self.target.quantity}: {self.target.fraction:g} can't be met within "
            f"{tolerance:.0%}. The nearest is {nearest:.4f}; as little as {least:.4f} can remain. "
            "Layers keep multiples of 'round_to' units (null: up to 8; a smaller one is finer) and "
            "lose at most 'max_ratio' of them."
        )


def met(reached: float, target: float, tolerance: float) -> bool:
    """Return whether a fraction is within the relative tolerance of the target."""
    return abs(reached - target) <= tolerance * target


def _counted(problem: _Problem, model: CostModel) -> list[int]:
    quantity, fraction = problem.target.quantity, problem.target.fraction
    whole = model.total.of(quantity)

    def cost(counts: Sequence[int]) -> float:
        return model.predict(counts).of(quantity) / whole

    counts = problem.search(cost, target=fraction)
    if not met(cost(counts), fraction, TOLERANCE):
        raise problem.unmet(cost(counts), cost(problem.most), TOLERANCE)
    return counts


def _sized(problem: _Problem, model: CostModel, meter: Meter) -> tuple[list[int], tuple[str, ...]]:
    whole = meter.size_bytes(problem.module)
    params = model.total.params

    def cost(counts: Sequence[int]) -> float:
        return 1 - _FLOAT_BYTES * (params - model.predict(counts).params) / whole

    def measure(counts: Sequence[int]) -> float:
        return meter.size_bytes(problem.cut(counts)) / whole

    found = problem.approach(cost, measure, tolerance=TOLERANCE)
    return found.counts, (
        f"size: {found.measured:.4f} of {whole:,} bytes remain (predicted {found.predicted:.4f}).",
    )


def _timed(problem: _Problem, model: CostModel, meter: Meter) -> tuple[list[int], tuple[str, ...]]:
    def cost(counts: Sequence[int]) -> float:
        return model.predict(counts).macs / model.total.macs

    def measure(counts: Sequence[int]) -> float:
        return meter.latency_ratio(problem.cut(counts), problem.module)

    found = problem.approach(cost, measure, tolerance=LATENCY_TOLERANCE)
    return found.counts, (
        f"latency: {found.measured:.3f} of the original's measured at batch size "
        f"{meter.batch_size}, after {found.rounds} round{'s' if found.rounds > 1 else ''}.",
    )
