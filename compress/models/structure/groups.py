"""Groups of units: the parts of tensors that a channel, neuron or attention head consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["channels", "feed_forward", "heads", "head_width", "hidden"]
"""Kind of a unit.

channels : a channel.
feed_forward : a neuron.
heads : an attention head. In decoders that share keys and values, it is a head of keys and values
    with the heads of queries that read it.
head_width : one place within every head of a layer.
hidden : a unit of the width that all layers read and write. A pooler has as many units, which are a
    group of this kind of their own.
"""


@dataclass(frozen=True, eq=False)
class Slice:
    """The parts of one tensor that belong to a group's units.

    Attributes
    ----------
    module : path of the submodule that has the tensor.
    tensor : name of a parameter or buffer of the submodule.
    dim : the dimension along which units are cut.
    index : (U, K) int64; row u holds the indices along `dim` that belong to unit u.
    """

    module: str
    tensor: str
    dim: int
    index: Tensor

    @property
    def width(self) -> int:
        """Number of indices of each unit."""
        return int(self.index.shape[1])

    def tensor_of(self, module: nn.Module) -> Tensor:
        """The tensor itself, in a module that has this slice."""
        found: Tensor = getattr(module.get_submodule(self.module), self.tensor)
        return found


@dataclass(frozen=True)
class Attribute:
    """An integer attribute of a submodule that is proportional to the kept units."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Group:
    """Units of the same structure, each of which can be cut without the others.

    Groups that cut the same dimension of a tensor have disjoint parts of it, or each has the whole
    of it (heads, and the width within heads).

    Attributes
    ----------
    name : path of the layer that makes the units, or "heads" or "hidden" if all layers share them.
        If only the layers of a stage do, the stage's number follows.
    kind : kind of the units.
    units : number of units.
    slices : the parts of tensors that belong to the units.
    attributes : numbers to rewrite, besides those of torch's own layers.
    attentions : paths of the attentions whose matmuls take MACs in proportion to the units.
    """

    name: str
    kind: Kind
    units: int
    slices: tuple[Slice, ...]
    attributes: tuple[Attribute, ...] = ()
    attentions: tuple[str, ...] = ()


def block_index(units: int, width: int) -> Tensor:
    """Index (units, width) of units that are `width` neighbouring elements each."""
    return torch.arange(units * width).reshape(units, width)


def squares(module: nn.Module, slices: Sequence[Slice]) -> Tensor:
    """Sum of the squares of each unit's parameters: (U,) float64."""
    total = torch.zeros(len(slices[0].index), dtype=torch.float64)
    for part in slices:
        tensor = part.tensor_of(module)
        if not isinstance(tensor, nn.Parameter):
            continue  # batch-norm's running statistics say nothing about importance
        rest = [dim for dim in range(tensor.dim()) if dim != part.dim]
        energy = tensor.detach().double().square()
        energy = energy.sum(dim=rest) if rest else energy
        total += energy.cpu()[part.index].sum(dim=1)
    return total


def cut_units(order: Sequence[Tensor], counts: Sequence[int]) -> list[Tensor]:
    """The first `counts[g]` units of each group's order."""
    return [units[:count] for units, count in zip(order, counts, strict=True)]
