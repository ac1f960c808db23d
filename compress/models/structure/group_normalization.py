"""Group normalisation over the remaining channels; see `normalization`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import group_norm


class GroupsOverKept(nn.Module):
    """Normalises over some channels, equally many of every group. All others are set to zero.

    Wu and He, "Group Normalization", ECCV 2018, arXiv:1803.08494.

    Parameters
    ----------
    norm : a group normalisation with gains; its parameters are shared, not copied.
    kept : (C,) bool; True for the channels that it runs over.
    """

    kept: Tensor

    def __init__(self, norm: nn.GroupNorm, kept: Tensor) -> None:
        super().__init__()
        self.weight = norm.weight
        self.bias = norm.bias
        self.register_buffer("kept", kept.nonzero().flatten().to(norm.weight.device), False)
        alone = norm.num_groups == norm.num_channels
        self.groups = len(self.kept) if alone else norm.num_groups
        self.eps = norm.eps

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise (N, C, ...)."""
        bias = None if self.bias is None else self.bias[self.kept]
        weight = self.weight[self.kept]
        normal = group_norm(hidden[:, self.kept], self.groups, weight, bias, self.eps)
        return torch.zeros_like(hidden).index_copy(1, self.kept, normal)
