"""Spends a target where it costs the answers least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import StageError
from compress.models.structure.groups import Group
from compress.pruning.allocation.search import Costs, Ranking
from compress.pruning.sensitivity.losses import GroupSensitivity, Sensitivity

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.floating[Any]]


def ranking_by_sensitivity(
    groups: Sequence[Group], scores: Sequence[Tensor], sensitivity: Sensitivity, cost: Costs
) -> Ranking:
    """Rank all units of all kinds by what cutting one more of their group costs the answers.

    Of each group the divergence is drawn over the cost saved, and made convex (its lower hull), so
    that its slope, the divergence a unit of cost, only rises: cutting everything whose slope is
    below a threshold is then the least total divergence of all choices that save as much (the
    equal-slope condition; Shoham & Gersho, "Efficient bit allocation for an arbitrary set of
    quantizers", IEEE Trans. ASSP 1988), as far as the groups' divergences add up. The slope is 0 at
    the whole model, whose answers diverge least, and goes linearly from one measurement's span to
    the next. Beyond the largest cut that was measured nothing is known: those units go last.

    Parameters
    ----------
    scores : of each group, (U,), as the sensitivity was measured with: they order its units.
    sensitivity : of the same groups.
    cost : of cutting so many units of each group, such as MACs.

    Raises
    ------
    StageError : the sensitivity is of other groups.
    """
    measured = [(each.name, each.units) for each in sensitivity.groups]
    if measured != [(group.name, group.units) for group in groups]:
        raise StageError("the sensitivity must be of the same groups, in their order. It isn't.")
    none = [0] * len(groups)
    whole = cost(none)
    entries: list[tuple[float, float, float, int]] = []
    for number, (group, curve) in enumerate(zip(groups, sensitivity.groups, strict=True)):
        saved = [whole - cost([*none[:number], count, *none[number + 1 :]]) for count in curve.cut]
        slopes, last = _slopes(curve, saved)
        entries += [
            (slope, last, place / group.units, number) for place, slope in enumerate(slopes)
        ]
    keys: list[list[float]] = [[] for _ in groups]
    for position, (*_, number) in enumerate(sorted(entries)):
        keys[number].append(position / len(entries))
    return Ranking([score.argsort(stable=True) for score in scores], keys)


def _slopes(curve: GroupSensitivity, saved: Sequence[float]) -> tuple[list[float], float]:
    """Of each unit, the divergence a unit of cost, which never falls; and the last that is known.

    Parameters
    ----------
    saved : cost saved by each of the curve's cuts.
    """
    points = [(0.0, 0.0)]
    counts = [0.0]
    for count, cost, divergence in zip(curve.cut, saved, curve.divergence, strict=True):
        # A cut that saves no more, or whose answers aren't numbers, is as if it weren't measured.
        if cost > points[-1][0] and math.isfinite(divergence):
            points.append((cost, divergence))
            counts.append(float(count))
    places = np.arange(curve.units) + 0.5
    known = places < counts[-1]
    if not known.any():
        return [math.inf] * curve.units, math.inf
    at = np.interp(places[known], counts, [cost for cost, _ in points])
    where, slopes = _rising(_lower_hull(points))
    found = np.full(curve.units, math.inf)
    found[known] = np.maximum.accumulate(np.interp(at, where, slopes))
    return [float(slope) for slope in found], float(slopes[-1])


def _rising(hull: Sequence[tuple[float, float]]) -> tuple[Floats, Floats]:
    """Slopes and where they are: 0 at the start, a span's own in its middle, linear between them
    and on to the end."""
    x, y = np.array(hull).T
    where = np.concatenate([x[:1], (x[1:] + x[:-1]) / 2])
    slopes = np.concatenate([[0.0], np.diff(y) / np.diff(x)])
    growth = (slopes[-1] - slopes[-2]) / (where[-1] - where[-2])
    end = slopes[-1] + growth * (x[-1] - where[-1])
    return np.append(where, x[-1]), np.append(slopes, end)


def _lower_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of points by rising x, those on the lower convex hull (Andrew's monotone chain)."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1:
            (x1, y1), (x0, y0) = hull[-1], hull[-2]
            if (y1 - y0) * (x - x1) < (y - y1) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y))
    return hull
