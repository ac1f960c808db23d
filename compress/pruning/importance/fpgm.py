"""Importance by the geometric median (FPGM): units similar to the others are unimportant."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.models.structure.groups import Group
from compress.pruning.importance.weights import UnitWeights, relative

_BLOCK = 1024
"""Number of units whose distances are computed at a time."""


def fpgm(module: nn.Module, group: Group) -> Tensor:
    """Sum of the distances of each unit's weights to all others', ÷ the group's mean: (U,), mean 1.

    The unit with the smallest sum is nearest to the geometric median, and most similar to all
    others. He et al., "Filter Pruning via Geometric Median", CVPR 2019, arXiv:1811.00250, compare
    filters' own weights; here all parameters of a unit are compared. A unit of zeros needn't be
    unimportant.
    """
    weights = UnitWeights(module, group)
    blocks = torch.split(torch.arange(group.units), _BLOCK)
    sums = torch.zeros(group.units, dtype=torch.float64)
    for rows in blocks:
        for columns in blocks:
            sums[rows] += _distances(weights, rows, columns).sum(dim=1)
    return relative(sums)


def _distances(weights: UnitWeights, rows: Tensor, columns: Tensor) -> Tensor:
    """(R, C) distances between units; a unit's distance to itself is exactly 0."""
    squared = torch.zeros(len(rows), len(columns), dtype=torch.float64)
    for ours, theirs in zip(weights.rows(rows), weights.rows(columns), strict=True):
        products = ours @ theirs.T
        lengths = ours.square().sum(dim=1)[:, None] + theirs.square().sum(dim=1)
        squared += (lengths - 2 * products).cpu()
    squared[rows[:, None] == columns] = 0
    return squared.clamp_min(0).sqrt()
