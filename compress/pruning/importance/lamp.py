"""Importance by layer-adaptive magnitude (LAMP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.models.structure.groups import Group
from compress.pruning.importance.weights import UnitWeights


def lamp(module: nn.Module, group: Group) -> Tensor:
    """Squared norm of each unit ÷ the sum of those at least as large in its group: (U,), at most 1.

    Cutting by this score bounds the distortion of the layer's output. Layers are comparable without
    scaling: a single largest unit has the score 1 in each. Lee et al., "Layer-adaptive sparsity for
    the Magnitude-based Pruning", ICLR 2021, arXiv:2010.07611, score single weights; here all
    parameters of a unit count. Units of equal norm have equal scores.
    """
    squares = UnitWeights(module, group).squares()
    ascending = squares.sort().values
    at_least = ascending.flip(0).cumsum(0).flip(0)
    remaining = at_least[torch.searchsorted(ascending, squares)]
    return squares / remaining.clamp_min(torch.finfo(torch.float64).tiny)
