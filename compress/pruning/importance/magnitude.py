"""Importance by magnitude: units with large weights are important."""

from __future__ import annotations

from torch import Tensor, nn

from compress.models.structure.groups import Group
from compress.pruning.importance.weights import UnitWeights, relative


def magnitude(module: nn.Module, group: Group) -> Tensor:
    """L2 norm of all parameters of each unit, divided by the group's mean: (U,), mean 1.

    The division makes layers comparable whose weights differ in scale or number. Li et al.,
    "Pruning Filters for Efficient ConvNets", ICLR 2017, arXiv:1608.08710, rank within a layer by
    such norms; Fang et al., "DepGraph", CVPR 2023, arXiv:2301.12900, use all parameters of a unit.
    """
    return relative(UnitWeights(module, group).squares().sqrt())
