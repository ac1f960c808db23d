"""Cuts units out of a copy of a module, or zeroes them."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from compress.models.structure.attention import fit_heads
from compress.models.structure.group_normalization import GroupsOverKept
from compress.models.structure.groups import Group
from compress.models.structure.normalization import OverKept, normalizes


def cut(module: nn.Module, groups: Sequence[Group], units: Sequence[Tensor]) -> nn.Module:
    """A smaller copy without the given units of each group. `requires_grad` stays as it was.

    Parameters
    ----------
    units : (R,) int64 pruned units of each group.
    """
    smaller = copy.deepcopy(module)
    names = _names(smaller)
    for (path, name), removed in _removed(groups, units, names).items():
        tensor = getattr(smaller.get_submodule(path), name)
        kept = tensor.detach().contiguous()
        for dim, indices in removed.items():
            stays = _without(indices, length=tensor.shape[dim]).nonzero().flatten()
            kept = kept.index_select(dim, stays.to(kept.device))
        if isinstance(tensor, nn.Parameter):
            kept = nn.Parameter(kept, tensor.requires_grad)
        for owner, own in names[path, name]:
            part = smaller.get_submodule(owner)
            setattr(part, own, kept)
            _match_attributes(part)
    for group, pruned in zip(groups, units, strict=True):
        for attribute in group.attributes:
            part = smaller.get_submodule(attribute.module)
            value = getattr(part, attribute.name) * (group.units - len(pruned)) // group.units
            setattr(part, attribute.name, value)
    fit_heads(smaller)
    return smaller


def mask(module: nn.Module, groups: Sequence[Group], units: Sequence[Tensor]) -> nn.Module:
    """A copy of the same shape in which every weight of the given units is zero.

    It answers like the module without these units: the weights that make or read them are zero, and
    layer, group and RMS normalisations run over the remaining units.
    """
    masked = copy.deepcopy(module)
    zero(masked, groups, units)
    return masked


def zero(module: nn.Module, groups: Sequence[Group], units: Sequence[Tensor]) -> None:
    """Do to the module itself what `mask` does to a copy."""
    for (path, name), removed in _removed(groups, units, _names(module)).items():
        part = module.get_submodule(path)
        tensor = getattr(part, name)
        if name == "weight" and normalizes(part):
            module.set_submodule(path, OverKept(part, _without(removed[0], length=len(tensor))))
        if name == "weight" and isinstance(part, nn.GroupNorm):
            kept = _without(removed[0], length=len(tensor))
            module.set_submodule(path, GroupsOverKept(part, kept))
        if not isinstance(tensor, nn.Parameter):
            continue  # running statistics: zero variance would make infinities
        for dim, indices in removed.items():
            tensor.data.index_fill_(dim, indices.to(tensor.device), 0.0)


Name = tuple[str, str]
"""Path of a module, and its name of a tensor."""


def _names(module: nn.Module) -> dict[Name, list[Name]]:
    """For each tensor's name, all names of that tensor. Tied weights have several."""
    found: dict[int, list[Name]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for own, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is not None:
                found.setdefault(id(tensor), []).append((path, own))
    return {name: names for names in found.values() for name in names}


def _removed(
    groups: Sequence[Group], units: Sequence[Tensor], names: Mapping[Name, Sequence[Name]]
) -> dict[Name, dict[int, Tensor]]:
    """The indices to remove from each tensor, by dimension. Tied tensors have their first name."""
    found: dict[Name, dict[int, Tensor]] = {}
    for group, pruned in zip(groups, units, strict=True):
        if len(pruned) == 0:
            continue
        for part in group.slices:
            dims = found.setdefault(names[part.module, part.tensor][0], {})
            indices = part.index[pruned].flatten()
            dims[part.dim] = torch.cat([dims[part.dim], indices]) if part.dim in dims else indices
    return found


def _without(removed: Tensor, *, length: int) -> Tensor:
    """(length,) bool: True for indices that stay."""
    kept = torch.ones(length, dtype=torch.bool)
    kept[removed] = False
    return kept


def _match_attributes(part: nn.Module) -> None:
    """Set a layer's attributes of its sizes to the shapes of its tensors."""
    match part:
        case nn.Linear():
            part.out_features, part.in_features = part.weight.shape
        case nn.Embedding():
            part.num_embeddings, part.embedding_dim = part.weight.shape
        case _BatchNorm() | _InstanceNorm() | nn.GroupNorm() | nn.LayerNorm() | nn.RMSNorm():
            _match_normalization(part)
        case _ConvNd():
            _match_convolution(part)
        case nn.RNNBase():
            part.input_size = part.get_parameter("weight_ih_l0").shape[1]
        case nn.PReLU():
            part.num_parameters = len(part.weight)
        case nn.Module(nx=_, nf=_):  # transformers' Conv1D: a linear layer with weights (in, out)
            for name, size in zip(("nx", "nf"), part.get_parameter("weight").shape, strict=True):
                setattr(part, name, size)


def _match_convolution(part: _ConvNd) -> None:
    if 1 < part.groups == part.in_channels == part.out_channels:  # depthwise
        part.groups = part.weight.shape[0]
    inner = part.weight.shape[1] * part.groups  # the weight has the channels of one group
    sizes = (part.weight.shape[0], inner)
    if isinstance(part, _ConvTransposeNd):
        part.in_channels, part.out_channels = sizes
    else:
        part.out_channels, part.in_channels = sizes


def _match_normalization(part: nn.Module) -> None:
    match part:
        case _BatchNorm() | _InstanceNorm():
            known = part.weight if part.running_mean is None else part.running_mean
            if known is not None:
                part.num_features = len(known)
        case nn.GroupNorm():
            if part.num_groups == part.num_channels:  # each channel is a group
                part.num_groups = len(part.weight)
            part.num_channels = len(part.weight)
        case nn.LayerNorm() | nn.RMSNorm():
            part.normalized_shape = tuple(part.weight.shape)
