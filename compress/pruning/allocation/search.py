"""How many units of each layer to cut, so that a target is met."""

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
"""Relative distance from the target at which the search is content."""
TRIED = 64
"""Most promising pairs of moves whose cost is computed."""

Costs = Callable[[Sequence[int]], float]
"""The cost of cutting so many units of each group."""


@dataclass(frozen=True)
class Ranking:
    """In which order units are cut.

    Attributes
    ----------
    order : of each group, (U,) its units from the least important on.
    keys : of each group, for the units in that order, the fraction of all units that these compete
        with which are less important: a threshold t cuts those below it.
    """

    order: list[Tensor]
    keys: list[list[float]]


def rank(groups: Sequence[Group], scores: Sequence[Tensor], *, scope: Scope) -> Ranking:
    """Rank units by importance.

    Heads compete with heads, neurons with neurons: a head has the weights of hundreds of neurons,
    so that its norm is always near its layer's mean, and one scale for both would cut all heads at
    once. One threshold therefore cuts the same fraction of each kind.

    Parameters
    ----------
    scores : of each group, (U,), comparable across layers.
    scope : "global" ranks over all layers; "isomorphic" over those of one structure (Fang et al.,
        "Isomorphic Pruning for Vision Models", ECCV 2024, arXiv:2407.04616), of which the channels
        inside blocks and those of the blocks' sum are two; "layer" within each one.
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
    """What is equal for groups whose units are alike: the tensors' parts that each one has."""
    parts = Counter((part.tensor, part.dim, part.width) for part in group.slices)
    return group.kind, frozenset(parts.items())


def step_of(group: Group, *, round_to: int | None) -> int:
    """The number whose multiples a group may keep: 1 for heads.

    Without `round_to` it is 8, which is what processors' vectors are made of; 4, 2 or 1 in groups
    of fewer than 32, 16 or 8 units, as these would have no choice otherwise.
    """
    if group.kind == "heads":
        return 1
    return round_to or max(step for step in (1, 2, 4, 8) if step == 1 or group.units >= 4 * step)


def allowed(group: Group, count: int, *, round_to: int | None) -> int:
    """As many of `count` cuts as leave a multiple of the group's step, and at least one step."""
    step = step_of(group, round_to=round_to)
    kept = -(-max(group.units - count, 1) // step) * step
    return max(0, group.units - kept)


def choices(
    groups: Sequence[Group], *, max_ratio: float | Mapping[str, float], round_to: int | None
) -> list[list[int]]:
    """The numbers of cuts that each group may have, from 0 on.

    Parameters
    ----------
    max_ratio : at most this fraction of each group goes; or that of the first of the patterns that
        matches its name, and all but one step where none does.

    Raises
    ------
    StageError : a pattern matches no group.
    """
    if isinstance(max_ratio, Mapping):
        matched(groups, max_ratio, key="max_ratio")
    found = []
    for group in groups:
        # Of 0.3 * 10 units, which is 2.9999999999999996, three may go.
        ceiling = floor(group.units * most(max_ratio, group.name) + 1e-9)
        counts = range(max(ceiling, 0) + 1)
        found.append(sorted({allowed(group, count, round_to=round_to) for count in counts}))
    return found


def search(
    ranking: Ranking, cost: Costs, *, target: float, choices: Sequence[Sequence[int]]
) -> list[int]:
    """The number of cuts in each group whose cost comes nearest to the target.

    Bisection finds the threshold on whose two sides the target lies. Where these are too far apart,
    since a head or eight channels are a large step, single groups then move by a step, or two of
    them, for as long as that comes nearer.

    Parameters
    ----------
    cost : by and large, falls as more is cut.
    target : the cost to come near.
    choices : of each group, the numbers of cuts that it may have, sorted.
    """
    cost = _remembered(cost)
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
    start = min((counts_at(low), counts_at(high)), key=lambda counts: abs(cost(counts) - target))
    return _approach(start, cost, target=target, choices=choices)


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
    """Move single groups, or two at once, by a step each, while that comes nearer to the target."""
    units = [max(each[-1], 1) for each in choices]

    def order(counts: Sequence[int]) -> tuple[float, float]:
        """Nearness first; among those that are near enough, likeness to what the threshold says."""
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
    """Counts in which one group differs by a step."""
    moved: list[list[int]] = []
    for number, each in enumerate(choices):
        position = bisect_left(each, counts[number])
        beside = (*each[max(position - 1, 0) : position], *each[position + 1 : position + 2])
        moved += [[*counts[:number], count, *counts[number + 1 :]] for count in beside]
    return moved


def _pairs(
    counts: list[int], singles: list[list[int]], changes: np.ndarray, *, wanted: float
) -> list[list[int]]:
    """The most promising of the pairs of moves: the sum of two moves' changes is nearly theirs."""
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
