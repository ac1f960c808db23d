"""Parameters and multiply-accumulates, counted and foretold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils.flop_counter import FlopCounterMode

from compress.pruning.groups import Group
from compress.pruning.options import Quantity

if TYPE_CHECKING:
    from compress.core.context import Batch, Task


@dataclass(frozen=True)
class Cost:
    """What a module takes: parameters (shared ones once), and MACs on the inputs counted with."""

    params: int
    macs: int

    def of(self, quantity: Quantity) -> int:
        """One of the two."""
        return self.macs if quantity == "macs" else self.params


def count_params(module: nn.Module) -> int:
    """All parameters, embeddings included, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_cost(module: nn.Module, *, task: Task, inputs: Batch) -> Cost:
    """Count by running the module once on the inputs, attention's matrix products included."""
    # The fused attention of the CPU is unknown to torch's counter, which would take it for nothing.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task.logits(module, inputs)
    return Cost(count_params(module), counter.get_total_flops() // 2)


class CostModel:
    """What a module will cost when so many units of each group are cut, without cutting them.

    A linear or convolutional layer takes as many MACs for each element of its weight as it has
    output positions. What remains of the MACs is the product of queries, keys and values, which
    goes with the number of heads.
    """

    def __init__(
        self, module: nn.Module, groups: Sequence[Group], *, task: Task, inputs: Batch
    ) -> None:
        self.total = count_cost(module, task=task, inputs=inputs)
        self._shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
        self._cuts: dict[str, list[tuple[int, int, int]]] = {}
        for number, group in enumerate(groups):
            for part in group.slices:
                name = f"{part.module}.{part.tensor}"
                if name in self._shapes:
                    self._cuts.setdefault(name, []).append((number, part.dim, part.width))
        self._repeats = _positions(module, task=task, inputs=inputs)
        layers = sum(repeats * prod(self._shapes[name]) for name, repeats in self._repeats.items())
        # A group of heads that all layers share counts once for each layer.
        self._heads = [len(group.attentions) for group in groups]
        heads = sum(n * g.units for n, g in zip(self._heads, groups, strict=True))
        self._per_head = (self.total.macs - layers) / heads if heads else 0.0
        self._untouched = 0 if heads else self.total.macs - layers
        self._units = [group.units for group in groups]

    def predict(self, counts: Sequence[int]) -> Cost:
        """The cost after cutting `counts[g]` units of group g."""
        params = 0
        macs = float(self._untouched)
        for name, shape in self._shapes.items():
            sizes = list(shape)
            for number, dim, width in self._cuts.get(name, ()):
                sizes[dim] -= counts[number] * width
            params += prod(sizes)
            macs += self._repeats.get(name, 0) * prod(sizes)
        for heads, units, count in zip(self._heads, self._units, counts, strict=True):
            macs += self._per_head * heads * (units - count)
        return Cost(params, round(macs))


def _positions(module: nn.Module, *, task: Task, inputs: Batch) -> dict[str, int]:
    """How many MACs each element of a layer's weight takes, by the weight's name."""
    repeats: dict[str, int] = {}
    names = {id(parameter): name for name, parameter in module.named_parameters()}

    def count(part: nn.Module, given: tuple[Any, ...], answer: Tensor) -> None:
        if isinstance(part, _ConvTransposeNd):
            times = given[0].numel() // part.in_channels
        elif isinstance(part, _ConvNd):
            times = answer.numel() // part.out_channels
        else:
            times = answer.numel() // answer.shape[-1]
        name = names[id(part.weight)]
        repeats[name] = repeats.get(name, 0) + times

    hooks = [
        part.register_forward_hook(count)
        for part in module.modules()
        if isinstance(part, nn.Linear | _ConvNd)
    ]
    try:
        with torch.no_grad():
            task.logits(module, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return repeats
