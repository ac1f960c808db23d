"""Importance by batch normalisation: channels with large gains are important."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compress.errors import StageError, few
from compress.models.structure.groups import Group, Slice


def batch_norm(module: nn.Module, groups: Sequence[Group]) -> list[Tensor]:
    """Mean |gain| of each unit over its batch normalisations: (U,) of each group.

    Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017,
    arXiv:1708.06519. The gains are comparable over all layers, as activations are normalised before
    them.

    Raises
    ------
    StageError : a group has no batch normalisation with gains.
    """
    gains = [[part for part in group.slices if _is_gain(module, part)] for group in groups]
    without = [group.name for group, found in zip(groups, gains, strict=True) if not found]
    if without:
        raise StageError(
            f"importance 'batch_norm' can't rank {few(without)}: no batch normalisation with gains "
            "goes with their units. Choose another importance, such as 'magnitude'."
        )
    return [_mean_gain(module, found) for found in gains]


def _mean_gain(module: nn.Module, gains: Sequence[Slice]) -> Tensor:
    each = []
    for part in gains:
        gain = module.get_submodule(part.module).get_parameter("weight").detach()
        each.append(gain.abs().double().cpu()[part.index].mean(dim=1))
    return torch.stack(each).mean(dim=0)


def _is_gain(module: nn.Module, part: Slice) -> bool:
    owner = module.get_submodule(part.module)
    return isinstance(owner, _BatchNorm) and part.tensor == "weight"
