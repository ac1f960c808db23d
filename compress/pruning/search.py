"""How many units of each layer to cut, so that a target is met."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from compress.pruning.groups import Group
from compress.pruning.options import Scope

CLOSE = 0.01
"""Relative distance from the target at which the search is content."""
MOST_PAIRED = 32
"""Up to so many groups, pairs of them are moved together."""


@dataclass(frozen=True)
class Ranking:
    """In which order units are cut.

    Attributes
    ----------
    order : of each group, (U,) its units from the least important on.
    keys : of each group, for the units in that order, the fraction of all units of that kind (or of
        that layer, in scope "layer") which are less important: a threshold t cuts those below it.
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
    scope : "global" ranks over all layers, "layer" within each one.
    """
    order = [score.argsort(stable=True) for score in scores]
    keys: list[list[float]] = [[] for _ in groups]
    pools: dict[str | int, list[int]] = {}
    for number, group in enumerate(groups):
        pools.setdefault(group.kind if scope == "global" else number, []).append(number)
    for members in pools.values():
        entries = sorted(
            (float(scores[number][unit]), number) for number in members for unit in order[number]
        )
        for position, (_, number) in enumerate(entries):
            keys[number].append(position / len(entries))
    return Ranking(order, keys)


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


def search(
    groups: Sequence[Group],
    ranking: Ranking,
    cost: Callable[[Sequence[int]], float],
    *,
    target: float,
    round_to: int | None,
) -> list[int]:
    """The number of cuts in each group whose cost comes nearest to the target.

    Bisection finds the threshold on whose two sides the target lies. Where these are too far apart,
    since a head or eight channels are a large step, single groups then move by a step, or two of
    them, for as long as that comes nearer.

    Parameters
    ----------
    cost : of cutting so many units of each group; falls as more is cut.
    target : the cost to come near.
    """
    thresholds = sorted({key for keys in ranking.keys for key in keys} | {1.0})

    def counts_at(position: int) -> list[int]:
        cuts = (bisect_left(keys, thresholds[position]) for keys in ranking.keys)
        return [allowed(g, count, round_to=round_to) for g, count in zip(groups, cuts, strict=True)]

    low, high = 0, len(thresholds) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(counts_at(middle)) >= target else (low, middle)

    def distance(counts: Sequence[int]) -> float:
        return abs(cost(counts) - target)

    start = min((counts_at(low), counts_at(high)), key=distance)

    def order(counts: Sequence[int]) -> tuple[float, float]:
        """Nearness first; among those that are near enough, likeness to what the threshold says."""
        moved = (abs(c - s) / g.units for c, s, g in zip(counts, start, groups, strict=True))
        return max(distance(counts), CLOSE * target), sum(moved)

    moves = [_Moves(group, round_to=round_to) for group in groups]
    best = start
    while distance(best) > CLOSE * target:
        beside = list(_singles(best, moves))
        if len(groups) <= MOST_PAIRED:
            beside += [pair for single in beside for pair in _singles(single, moves)]
        found = min(beside, key=order, default=best)
        if distance(found) >= distance(best):
            break
        best = found
    return best


class _Moves:
    """The numbers of cuts that a group may have, and how to go from one to the next."""

    def __init__(self, group: Group, *, round_to: int | None) -> None:
        counts = range(group.units + 1)
        self._allowed = sorted({allowed(group, count, round_to=round_to) for count in counts})

    def beside(self, count: int) -> list[int]:
        """The next smaller and the next larger number, as far as there are such."""
        position = self._allowed.index(count)
        return self._allowed[max(0, position - 1) : position] + self._allowed[position + 1 :][:1]


def _singles(counts: list[int], moves: Sequence[_Moves]) -> Iterator[list[int]]:
    """Counts in which one group differs by a step."""
    for number, move in enumerate(moves):
        for count in move.beside(counts[number]):
            yield [*counts[:number], count, *counts[number + 1 :]]
