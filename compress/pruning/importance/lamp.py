"""Large weights are important, by what their layer would have left."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.models.structure.groups import Group
from compress.pruning.importance.weights import UnitWeights


def lamp(module: nn.Module, group: Group) -> Tensor:
    """Squared norm of each unit ÷ the sum of those at least as large in its group: (U,), at most 1.

    Cutting by it bounds the distortion that the layer's output can suffer, and needs no scale of
    layers: the largest unit of each has 1 where it is alone. Lee et al., "Layer-adaptive sparsity
    for the Magnitude-based Pruning", ICLR 2021, arXiv:2010.07611, score single weights; here a unit
    is all parameters that go with it. Units of equal norm have equal scores.
    """
    squares = UnitWeights(module, group).squares()
    ascending = squares.sort().values
    at_least = ascending.flip(0).cumsum(0).flip(0)
    remaining = at_least[torch.searchsorted(ascending, squares)]
    return squares / remaining.clamp_min(torch.finfo(torch.float64).tiny)
