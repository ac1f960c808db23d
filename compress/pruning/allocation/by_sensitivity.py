"""Ranks units by measured sensitivity, so that a target is met at the least divergence."""

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
    """Rank all units of all kinds by the divergence that cutting one more of their group adds.

    For each group, the divergence as a function of the cost saved is replaced by its lower convex
    hull, so that the slope (divergence per unit of cost) never falls. Cutting everything whose
    slope is below a threshold then gives the least total divergence of all choices that save as
    much (the equal-slope condition; Shoham & Gersho, "Efficient bit allocation for an arbitrary set
    of quantizers", IEEE Trans. ASSP 1988), as far as the groups' divergences add up. The slope is 0
    at the whole model, whose answers diverge least, and is interpolated linearly between the
    middles of the measured spans. Nothing is known beyond the largest cut that was measured: those
    units are cut last.

    Parameters
    ----------
    scores : (U,) scores of each group, with which the sensitivity was measured. They order the
        group's units.
    sensitivity : the sensitivity of the same groups.
    cost : the cost, such as MACs, after cutting a number of units of each group.

    Raises
    ------
    StageError : the sensitivity was measured for other groups.
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
    """Slope (divergence per unit of cost) of each unit, which never falls, and the last known one.

    Parameters
    ----------
    saved : the cost that each of the curve's cuts saves.
    """
    points = [(0.0, 0.0)]
    counts = [0.0]
    for count, cost, divergence in zip(curve.cut, saved, curve.divergence, strict=True):
        # Cuts that save no more, or whose answers aren't numbers, are left out.
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
    """Positions and slopes: 0 at the start, each span's slope in its middle, and the extrapolated
    slope at the end. Slopes between them are linear."""
    x, y = np.array(hull).T
    where = np.concatenate([x[:1], (x[1:] + x[:-1]) / 2])
    slopes = np.concatenate([[0.0], np.diff(y) / np.diff(x)])
    growth = (slopes[-1] - slopes[-2]) / (where[-1] - where[-2])
    end = slopes[-1] + growth * (x[-1] - where[-1])
    return np.append(where, x[-1]), np.append(slopes, end)


def _lower_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lower convex hull of points sorted by x (Andrew's monotone chain)."""
    hull: list[tuple[float, float]] = []
    for x, y in points:
        while len(hull) > 1:
            (x1, y1), (x0, y0) = hull[-1], hull[-2]
            if (y1 - y0) * (x - x1) < (y - y1) * (x1 - x0):
                break
            hull.pop()
        hull.append((x, y))
    return hull
