"""Searches the number of units to cut in each group, so that a target is met."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

import numpy as np

from compress.models.structure.groups import Group
from compress.pruning.allocation.ratios import matched, most
from compress.pruning.options import Scope

if TYPE_CHECKING:
    from torch import Tensor

CLOSE = 0.01
"""Relative distance from the target at which the search stops."""
TRIED = 64
"""Number of the most promising pairs of moves whose cost is computed."""

Costs = Callable[[Sequence[int]], float]
"""Maps the number of units cut in each group to the cost of the cut model."""


@dataclass(frozen=True)
class Ranking:
    """The order in which units are cut.

    Attributes
    ----------
    order : (U,) units of each group, the least important first.
    keys : a key for each unit, in that order: the fraction of its competitors that are less
        important. A threshold cuts the units whose key is below it.
    """

    order: list[Tensor]
    keys: list[list[float]]


def rank(groups: Sequence[Group], scores: Sequence[Tensor], *, scope: Scope) -> Ranking:
    """Rank units by importance.

    Units compete only with units of their kind, such as heads with heads. A head has the weights of
    hundreds of neurons, so that its norm is always near its layer's mean: one scale for both would
    cut all heads at once. One threshold therefore cuts the same fraction of each kind.

    Parameters
    ----------
    scores : (U,) scores of each group, comparable across layers.
    scope : "global" ranks over all layers. "isomorphic" ranks over groups of the same structure
        (Fang et al., "Isomorphic Pruning for Vision Models", ECCV 2024, arXiv:2407.04616); channels
        inside blocks and channels of the blocks' sum are two structures. "layer" ranks within each
        group.
    """
    order = [score.argsort(stable=True) for score in scores]
    keys: list[list[float]] = [[] for _ in groups]
    pools: dict[Hashable, list[int]] = {}
    for number, group in enumerate(groups):
        rivals: dict[Scope, Hashable] = {
            "global": group.kind,
            "isomorphic": structure(group),
            "layer": number,
        }
        pools.setdefault(rivals[scope], []).append(number)
    for members in pools.values():
        entries = sorted(
            (score, number) for number in members for score in sorted(scores[number].tolist())
        )
        for position, (_, number) in enumerate(entries):
            keys[number].append(position / len(entries))
    return Ranking(order, keys)


def structure(group: Group) -> Hashable:
    """A key that is equal for groups whose units have the same parts of tensors."""
    parts = Counter((part.tensor, part.dim, part.width) for part in group.slices)
    return group.kind, frozenset(parts.items())


def step_of(group: Group, *, round_to: int | None) -> int:
    """The number of units of which a group must keep a multiple; 1 for heads.

    Without `round_to` it is 8, which suits processors' vector instructions. It is 4, 2 or 1 in
    groups of fewer than 32, 16 or 8 units, which would have too few choices otherwise.
    """
    if group.kind == "heads":
        return 1
    return round_to or max(step for step in (1, 2, 4, 8) if step == 1 or group.units >= 4 * step)


def allowed(group: Group, count: int, *, round_to: int | None) -> int:
    """The most cuts, up to `count`, that leave a multiple of the group's step and at least one."""
    step = step_of(group, round_to=round_to)
    kept = -(-max(group.units - count, 1) // step) * step
    return max(0, group.units - kept)


def choices(
    groups: Sequence[Group], *, max_ratio: float | Mapping[str, float], round_to: int | None
) -> list[list[int]]:
    """The allowed numbers of cuts of each group, sorted, from 0 on.

    Parameters
    ----------
    max_ratio : the largest fraction of each group that may be removed, or such fractions by
        pattern. The first pattern that matches a group's name counts; if none does, all but one
        step may be removed.

    Raises
    ------
    StageError : a pattern matches no group.
    """
    if isinstance(max_ratio, Mapping):
        matched(groups, max_ratio, key="max_ratio")
    found = []
    for group in groups:
        # 0.3 * 10 is 2.9999999999999996 in floating point, but three units may be removed.
        ceiling = floor(group.units * most(max_ratio, group.name) + 1e-9)
        counts = range(max(ceiling, 0) + 1)
        found.append(sorted({allowed(group, count, round_to=round_to) for count in counts}))
    return found


def search(
    ranking: Ranking, cost: Costs, *, target: float, choices: Sequence[Sequence[int]]
) -> list[int]:
    """The number of cuts in each group whose cost is nearest to the target.

    Bisection finds the two neighbouring thresholds between whose costs the target lies. The nearer
    one may still be too far away, since a head or eight channels are a large step. One or two
    groups at a time are then moved by a step, as long as the cost comes nearer to the target.

    Parameters
    ----------
    cost : the cost to search; it roughly falls as more is cut.
    target : the wanted cost.
    choices : the allowed numbers of cuts of each group, sorted.
    """
    cost = _remembered(cost)
    around = _around(ranking, cost, target=target, choices=choices)
    start = min(around, key=lambda counts: abs(cost(counts) - target))
    return _approach(start, cost, target=target, choices=choices)


def search_below(
    ranking: Ranking, cost: Costs, *, target: float, choices: Sequence[Sequence[int]]
) -> list[int]:
    """The number of cuts in each group whose cost is the nearest below the target.

    It begins with the first threshold below the target, and moves one group at a time by a step as
    long as the cost comes nearer from below. If the target can't be reached, most is cut.

    Parameters
    ----------
    cost, target, choices : see `search`.
    """
    cost = _remembered(cost)
    best = _around(ranking, cost, target=target, choices=choices)[1]
    while True:
        below = [counts for counts in _singles(best, choices) if cost(counts) <= target]
        nearest = max(below, key=cost, default=best)
        if cost(nearest) <= cost(best):
            return best
        best = nearest


def _around(
    ranking: Ranking, cost: Costs, *, target: float, choices: Sequence[Sequence[int]]
) -> tuple[list[int], list[int]]:
    """The counts at the two neighbouring thresholds between whose costs the target lies."""
    thresholds = sorted({key for keys in ranking.keys for key in keys} | {1.0})

    def counts_at(position: int) -> list[int]:
        cuts = [bisect_left(keys, thresholds[position]) for keys in ranking.keys]
        return [
            each[max(bisect_right(each, count) - 1, 0)]
            for each, count in zip(choices, cuts, strict=True)
        ]

    low, high = 0, len(thresholds) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(counts_at(middle)) >= target else (low, middle)
    return counts_at(low), counts_at(high)


def _remembered(cost: Costs) -> Costs:
    known: dict[tuple[int, ...], float] = {}

    def remembered(counts: Sequence[int]) -> float:
        key = tuple(counts)
        if key not in known:
            known[key] = cost(counts)
        return known[key]

    return remembered


def _approach(
    start: list[int], cost: Costs, *, target: float, choices: Sequence[Sequence[int]]
) -> list[int]:
    """Move one or two groups at a time by a step, while the cost comes nearer to the target."""
    units = [max(each[-1], 1) for each in choices]

    def order(counts: Sequence[int]) -> tuple[float, float]:
        """Sort key: distance from the target, at least `CLOSE`; then distance from the start."""
        moved = (abs(c - s) / u for c, s, u in zip(counts, start, units, strict=True))
        return max(abs(cost(counts) - target), CLOSE * target), sum(moved)

    best, at = start, cost(start)
    while abs(at - target) > CLOSE * target:
        singles = _singles(best, choices)
        changes = np.array([cost(counts) - at for counts in singles])
        pairs = _pairs(best, singles, changes, wanted=target - at)
        found = min(singles + pairs, key=order, default=best)
        reached = cost(found)
        if abs(reached - target) >= abs(at - target):
            break
        best, at = found, reached
    return best


def _singles(counts: list[int], choices: Sequence[Sequence[int]]) -> list[list[int]]:
    """All counts in which one group differs by a step."""
    moved: list[list[int]] = []
    for number, each in enumerate(choices):
        position = bisect_left(each, counts[number])
        beside = (*each[max(position - 1, 0) : position], *each[position + 1 : position + 2])
        moved += [[*counts[:number], count, *counts[number + 1 :]] for count in beside]
    return moved


def _pairs(
    counts: list[int], singles: list[list[int]], changes: np.ndarray, *, wanted: float
) -> list[list[int]]:
    """The most promising pairs of moves. A pair's change is estimated as the sum of the two."""
    if len(singles) < 2:
        return []
    distances = np.abs(changes[:, None] + changes[None, :] - wanted)
    distances[np.tril_indices(len(singles))] = np.inf
    flat = np.argsort(distances, axis=None, kind="stable")[:TRIED]
    steps = np.array(singles) - np.array(counts)
    pairs = []
    for one, other in zip(*np.unravel_index(flat, distances.shape), strict=True):
        if not np.logical_and(steps[one], steps[other]).any():  # not both of the same group
            pairs.append([int(n) for n in np.array(counts) + steps[one] + steps[other]])
    return pairs
