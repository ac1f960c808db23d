"""Which tensors' parts must go together when one channel, neuron or attention head goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["channels", "feed_forward", "heads", "head_width", "hidden"]
"""What a unit is: a channel, a neuron, an attention head (of decoders that share keys and values: a
head of these with the queries' heads that read it), one place within every head of a layer, or a
unit of the width that all layers read and write. A pooler's units, as many, are a group of their
own of that kind."""


@dataclass(frozen=True, eq=False)
class Slice:
    """The parts of one tensor that belong to a group's units.

    Attributes
    ----------
    module : path of the submodule that has the tensor.
    tensor : name of a parameter or buffer there.
    dim : along which units are cut.
    index : (U, K) int64; row u holds the indices along `dim` that belong to unit u.
    """

    module: str
    tensor: str
    dim: int
    index: Tensor

    @property
    def width(self) -> int:
        """Indices a unit."""
        return int(self.index.shape[1])

    def tensor_of(self, module: nn.Module) -> Tensor:
        """The tensor itself, in a module that has this slice."""
        found: Tensor = getattr(module.get_submodule(self.module), self.tensor)
        return found


@dataclass(frozen=True)
class Attribute:
    """A whole number of a submodule's forward that is proportional to the units kept."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Group:
    """Units that are alike, each of which can be cut without the others.

    Groups that cut the same dimension of a tensor either have disjoint parts of it, or each of them
    has the whole of it (heads, and the width within heads).

    Attributes
    ----------
    name : path of the layer that makes the units; "heads" or "hidden" where all layers share them,
        with a stage's number where only its layers do.
    kind : what a unit is.
    units : how many there are.
    slices : every tensor that has parts of them.
    attributes : numbers to rewrite, besides those of torch's own layers.
    attentions : paths of the modules whose matmuls of queries, keys and values take MACs in
        proportion to the units.
    """

    name: str
    kind: Kind
    units: int
    slices: tuple[Slice, ...]
    attributes: tuple[Attribute, ...] = ()
    attentions: tuple[str, ...] = ()


def block_index(units: int, width: int) -> Tensor:
    """Index of units that are `width` neighbouring elements each: (units, width)."""
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
