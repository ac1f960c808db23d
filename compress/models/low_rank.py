"""Low-rank layers: two smaller layers in a row that replace a whole one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from compress.errors import ModelError, expected
from compress.models.structure.attention import call_parts


class LowRankLayer(nn.Module):
    """Two layers that replace one: `expand` takes the outputs of `reduce`.

    Attributes
    ----------
    reduce : layer from the whole layer's inputs to `rank` numbers, without a bias.
    expand : layer from these to the whole layer's outputs, with its bias if it had one.
    """

    def __init__(self, reduce: nn.Module, expand: nn.Module) -> None:
        super().__init__()
        self.reduce = reduce
        self.expand = expand

    def forward(self, values: Tensor) -> Tensor:
        """Inputs of the whole layer to its outputs."""
        answer: Tensor = self.expand(self.reduce(values))
        return answer

    @property
    def weight(self) -> Tensor:
        """The weight of `expand`, since some models read a layer's type and device here.

        A model that multiplies with it instead of calling the layer fails because of its shape.
        """
        return cast("Tensor", self.expand.weight)

    @property
    def rank(self) -> int:
        """Number of values between the two layers."""
        return int(self.weight.shape[1])


def is_splittable(part: nn.Module) -> bool:
    """Return whether a layer is of a kind that a `LowRankLayer` can replace.

    These are linear layers, 2-d convolutions in one group, and the `Conv1D` of transformers (a
    linear layer). Subclasses don't count, since they may do more.
    """
    if type(part) is nn.Conv2d:
        return part.groups == 1
    return type(part) is nn.Linear or is_conv1d(part)


def is_conv1d(part: nn.Module) -> bool:
    """Return whether a layer is the `Conv1D` of transformers: linear, with a weight (in, out)."""
    return type(part).__name__ == "Conv1D" and hasattr(part, "nf") and hasattr(part, "nx")


def matrix(part: nn.Module) -> Tensor:
    """A view of a splittable layer's weight as a matrix (outputs, inputs times kernel)."""
    weight = cast("Tensor", part.weight).detach()
    return weight.T if is_conv1d(part) else weight.flatten(1)


def low_rank_layer(part: nn.Module, rank: int) -> LowRankLayer:
    """A low-rank layer to replace a whole one, on its device and with its bias.

    All other weights are untrained. A convolution becomes one with the same kernel to `rank`
    channels, then one of 1 x 1 from these, as in Denton et al. (2014) and Zhang et al. (2015).

    Raises
    ------
    ModelError : the layer's kind can't be split, or its matrix can't have this rank.
    """
    if not is_splittable(part):
        raise ModelError(
            f"a low-rank layer can stand for Linear, Conv2d in one group, or Conv1D. Got {part}."
        )
    outputs, columns = matrix(part).shape
    if not 1 <= rank <= min(outputs, columns):
        raise ModelError(expected("rank", f"from 1 to {min(outputs, columns)}", rank))
    weight, bias = cast("Tensor", part.weight), cast("nn.Parameter | None", part.bias)
    like: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
    reduce: nn.Module
    expand: nn.Module
    if isinstance(part, nn.Conv2d):
        reduce = nn.Conv2d(
            part.in_channels,
            rank,
            part.kernel_size,  # type: ignore[arg-type]
            stride=part.stride,  # type: ignore[arg-type]
            padding=part.padding,  # type: ignore[arg-type]
            dilation=part.dilation,  # type: ignore[arg-type]
            bias=False,
            padding_mode=part.padding_mode,
            **like,
        )
        expand = nn.Conv2d(rank, outputs, 1, bias=bias is not None, **like)
    else:
        reduce = nn.Linear(columns, rank, bias=False, **like)
        expand = nn.Linear(rank, outputs, bias=bias is not None, **like)
    made = LowRankLayer(reduce, expand).train(part.training)
    made.requires_grad_(weight.requires_grad)
    if bias is not None:
        cast("nn.Linear", expand).bias = bias
    return made


def fill(layer: LowRankLayer, left: Tensor, right: Tensor) -> None:
    """Set a layer's two factors, so that its matrix becomes `left @ right`.

    Parameters
    ----------
    left : (outputs, rank).
    right : (rank, inputs times kernel).
    """
    with torch.no_grad():
        for part, factor in ((layer.expand, left), (layer.reduce, right)):
            weight = cast("Tensor", part.weight)
            weight.copy_(factor.view(weight.shape))


def product(layer: LowRankLayer) -> Tensor:
    """The layer's matrix, (outputs, inputs times kernel)."""
    return matrix(layer.expand) @ matrix(layer.reduce)


def put_low_rank(module: nn.Module, ranks: Mapping[str, int]) -> nn.Module:
    """Replace layers by untrained ones of these ranks, in place; returns the module.

    Parameters
    ----------
    ranks : rank of each layer, by its path. A layer with several names is replaced under all.

    Raises
    ------
    ModelError : there is no such layer, or it can't be split; see `low_rank_layer`.
    """
    places = list(module.named_modules(remove_duplicate=False))
    parts = dict(places)
    for path, rank in ranks.items():
        if not path or path not in parts:
            raise ModelError(f"{type(module).__name__} has no layer {path!r} to split.")
        made = low_rank_layer(parts[path], rank)
        for name in [name for name, part in places if part is parts[path]]:
            parent, _, leaf = name.rpartition(".")
            setattr(parts[parent], leaf, made)
    call_parts(module)
    return module
