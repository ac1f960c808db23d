"""Chooses the number of units to prune in each group, for a target or for explicit ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from compress.errors import StageError, TargetError
from compress.models.structure.cut import cut
from compress.models.structure.groups import Group, cut_units
from compress.pruning.allocation.ratios import ratio_counts
from compress.pruning.allocation.search import Costs, Ranking, choices, search, search_below
from compress.pruning.allocation.secant import ROUNDS, Approach, approach
from compress.pruning.cost.meter import Meter
from compress.pruning.cost.model import Cost, CostModel
from compress.pruning.options import CutOptions, Target

TOLERANCE = 0.02
"""Largest relative distance at which a target of parameters, MACs or bytes counts as met, if none
is given."""
LATENCY_TOLERANCE = 0.05
"""Largest relative distance at which a target of latency counts as met, if none is given."""
_LOWER = 0.93
"""A measured model above the target is searched again for this fraction of its predicted cost."""
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
    TargetError : the target can't be reached, or not within `options.tolerance`. The message says
        the nearest and the least fraction that can.
    """
    groups = cost.groups
    every = choices(groups, max_ratio=options.max_ratio, round_to=options.round_to)
    target = options.target
    if target is None:
        ratios = options.ratios if isinstance(options.ratios, dict) else {}
        counts, notes = ratio_counts(groups, ratios, choices=every)
        return ChosenCounts(counts, cost.total, cost.predict(counts), notes)
    problem = _Problem(module, groups, ranking, target, options.tolerance, every)
    if target.quantity in ("params", "macs"):
        counts, notes = _counted(problem, cost)
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
    tolerance: float | None
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

    def below(self, cost: Costs, *, target: float) -> list[int]:
        """The counts whose predicted cost is the nearest below a target."""
        return search_below(self.ranking, cost, target=target, choices=self.choices)

    def approach(
        self, cost: Costs, measure: Callable[[Sequence[int]], float], *, tolerance: float
    ) -> tuple[Approach, tuple[str, ...]]:
        """Counts whose measured fraction is within the tolerance of the target.

        If there are none and no tolerance was asked for, those of the nearest smaller model that
        was found, with a note.

        Raises
        ------
        TargetError : no such counts were found.
        """
        tolerance = self.tolerance or tolerance
        fraction = self.target.fraction
        found = approach(
            lambda asked: self.search(cost, target=asked),
            measure,
            target=fraction,
            tolerance=tolerance,
        )
        if met(found.measured, fraction, tolerance):
            return found, ()
        smaller = None if self.tolerance else self._smaller(cost, measure, found)
        if smaller is None:
            raise self.unmet(found.measured, measure(self.most), tolerance)
        return smaller, (self.coarse(smaller.measured, tolerance),)

    def _smaller(
        self, cost: Costs, measure: Callable[[Sequence[int]], float], found: Approach
    ) -> Approach | None:
        """The nearest counts that measure less than the target; None if none were found."""
        if found.measured <= self.target.fraction:
            return found
        asked, before = found.predicted, found.counts
        for number in range(1, ROUNDS + 1):
            counts = self.below(cost, target=asked)
            if counts == before == self.most:
                break
            measured = measure(counts)
            if measured <= self.target.fraction:
                return Approach(counts, asked, measured, found.rounds + number)
            asked, before = asked * _LOWER, counts
        return None

    def coarse(self, reached: float, tolerance: float) -> str:
        """The note on a target that is met by a smaller model."""
        return (
            f"{self.target.quantity}: {reached:.4f} remain, the nearest below the target of "
            f"{self.target.fraction:g}, since layers keep multiples of 'round_to' units. "
            f"'tolerance: {tolerance:g}' would refuse this."
        )

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


def _counted(problem: _Problem, model: CostModel) -> tuple[list[int], tuple[str, ...]]:
    quantity, fraction = problem.target.quantity, problem.target.fraction
    whole = model.total.of(quantity)
    tolerance = problem.tolerance or TOLERANCE

    def cost(counts: Sequence[int]) -> float:
        return model.predict(counts).of(quantity) / whole

    nearest = problem.search(cost, target=fraction)
    if met(cost(nearest), fraction, tolerance):
        return nearest, ()
    counts = problem.below(cost, target=fraction)
    if met(cost(counts), fraction, tolerance):
        return counts, ()
    if problem.tolerance is not None or cost(counts) > fraction:
        raise problem.unmet(cost(nearest), cost(problem.most), tolerance)
    return counts, (problem.coarse(cost(counts), tolerance),)


def _sized(problem: _Problem, model: CostModel, meter: Meter) -> tuple[list[int], tuple[str, ...]]:
    whole = meter.size_bytes(problem.module)
    params = model.total.params

    def cost(counts: Sequence[int]) -> float:
        return 1 - _FLOAT_BYTES * (params - model.predict(counts).params) / whole

    def measure(counts: Sequence[int]) -> float:
        return meter.size_bytes(problem.cut(counts)) / whole

    found, notes = problem.approach(cost, measure, tolerance=TOLERANCE)
    return found.counts, (
        f"size: {found.measured:.4f} of {whole:,} bytes remain (predicted {found.predicted:.4f}).",
        *notes,
    )


def _timed(problem: _Problem, model: CostModel, meter: Meter) -> tuple[list[int], tuple[str, ...]]:
    def cost(counts: Sequence[int]) -> float:
        return model.predict(counts).macs / model.total.macs

    def measure(counts: Sequence[int]) -> float:
        return meter.latency_ratio(problem.cut(counts), problem.module)

    found, notes = problem.approach(cost, measure, tolerance=LATENCY_TOLERANCE)
    return found.counts, (
        f"latency: {found.measured:.3f} of the original's measured at batch size "
        f"{meter.batch_size}, after {found.rounds} round{'s' if found.rounds > 1 else ''}.",
        *notes,
    )
