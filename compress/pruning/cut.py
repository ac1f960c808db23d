"""Cuts units out of a module's copy, or zeroes them."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from compress.pruning.groups import Group


def cut(module: nn.Module, groups: Sequence[Group], units: Sequence[Tensor]) -> nn.Module:
    """A smaller copy without the named units of each group; `requires_grad` stays as it was.

    Parameters
    ----------
    units : of each group, (R,) int64, the units that go.
    """
    smaller = copy.deepcopy(module)
    for (path, name), gone in _removed(groups, units).items():
        part = smaller.get_submodule(path)
        tensor = getattr(part, name)
        kept = tensor.detach()
        for dim, indices in gone.items():
            mask = torch.ones(tensor.shape[dim], dtype=torch.bool)
            mask[indices] = False
            kept = kept.index_select(dim, mask.nonzero().flatten().to(kept.device))
        if isinstance(tensor, nn.Parameter):
            setattr(part, name, nn.Parameter(kept.contiguous(), tensor.requires_grad))
        else:
            setattr(part, name, kept.contiguous())
        _match_attributes(part)
    for group, gone_units in zip(groups, units, strict=True):
        for attribute in group.attributes:
            part = smaller.get_submodule(attribute.module)
            value = getattr(part, attribute.name) * (group.units - len(gone_units)) // group.units
            setattr(part, attribute.name, value)
    return smaller


def mask(module: nn.Module, groups: Sequence[Group], units: Sequence[Tensor]) -> nn.Module:
    """A copy of the same shape in which every weight of the named units is zero.

    It answers as the module without them does: what makes them, and what reads them, is zero.
    """
    masked = copy.deepcopy(module)
    for (path, name), gone in _removed(groups, units).items():
        tensor = getattr(masked.get_submodule(path), name)
        if not isinstance(tensor, nn.Parameter):
            continue  # running statistics: zero variance would make infinities
        for dim, indices in gone.items():
            tensor.data.index_fill_(dim, indices.to(tensor.device), 0.0)
    return masked


def _removed(
    groups: Sequence[Group], units: Sequence[Tensor]
) -> dict[tuple[str, str], dict[int, Tensor]]:
    """The indices to remove from each tensor, by dimension."""
    found: dict[tuple[str, str], dict[int, Tensor]] = {}
    for group, gone in zip(groups, units, strict=True):
        if len(gone) == 0:
            continue
        for part in group.slices:
            dims = found.setdefault((part.module, part.tensor), {})
            indices = part.index[gone].flatten()
            dims[part.dim] = torch.cat([dims[part.dim], indices]) if part.dim in dims else indices
    return found


def _match_attributes(part: nn.Module) -> None:
    """Let a layer's own numbers say what its tensors' shapes are."""
    match part:
        case nn.Linear():
            part.out_features, part.in_features = part.weight.shape
        case nn.Embedding():
            part.num_embeddings, part.embedding_dim = part.weight.shape
        case _BatchNorm():
            if part.running_mean is not None:
                part.num_features = len(part.running_mean)
        case _ConvTransposeNd():
            part.in_channels, part.out_channels = part.weight.shape[:2]
        case _ConvNd():
            if part.groups > 1:  # depthwise: as many groups as channels
                part.groups = part.weight.shape[0]
            part.out_channels = part.weight.shape[0]
            part.in_channels = part.weight.shape[1] * part.groups
        case nn.PReLU():
            part.num_parameters = len(part.weight)
