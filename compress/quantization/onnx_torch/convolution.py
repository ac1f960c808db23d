"""Convolutions and pooling of 1 to 3 dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.errors import StageError
from compress.quantization.onnx_torch.operator import Attributes, Inputs, Operator, given

_CONVOLUTIONS: tuple[Callable[..., Tensor], ...] = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED: tuple[Callable[..., Tensor], ...] = (
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
)
_MAX_POOLS: tuple[Callable[..., Any], ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_MEAN_POOLS: tuple[Callable[..., Tensor], ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def padded(x: Tensor, attributes: Attributes, *, value: float = 0.0) -> tuple[Tensor, list[int]]:
    """The images, padded if the two sides differ, and the padding that is still to be applied."""
    rank = x.ndim - 2
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise StageError(f"'auto_pad' must be NOTSET or VALID. Got {attributes['auto_pad']!r}.")
    pads = list(attributes.get("pads", [0] * 2 * rank))
    before, after = pads[:rank], pads[rank:]
    if before == after:
        return x, before
    sides = [side for pair in zip(reversed(before), reversed(after), strict=True) for side in pair]
    return F.pad(x, sides, value=value), [0] * rank


def conv(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, padding = padded(inputs[0], attributes)
    rank = x.ndim - 2
    return _CONVOLUTIONS[rank - 1](
        x,
        inputs[1],
        given(inputs, 2),
        stride=attributes.get("strides", [1] * rank),
        padding=padding,
        dilation=attributes.get("dilations", [1] * rank),
        groups=attributes.get("group", 1),
    )


def conv_transpose(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    rank = x.ndim - 2
    pads = list(attributes.get("pads", [0] * 2 * rank))
    if pads[:rank] != pads[rank:] or "output_shape" in attributes:
        raise StageError("a ConvTranspose must have equal 'pads' and no 'output_shape'.")
    return _TRANSPOSED[rank - 1](
        x,
        inputs[1],
        given(inputs, 2),
        stride=attributes.get("strides", [1] * rank),
        padding=pads[:rank],
        output_padding=attributes.get("output_padding", [0] * rank),
        groups=attributes.get("group", 1),
        dilation=attributes.get("dilations", [1] * rank),
    )


def max_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, padding = padded(inputs[0], attributes, value=float("-inf"))
    rank = x.ndim - 2
    pooled: Tensor = _MAX_POOLS[rank - 1](
        x,
        attributes["kernel_shape"],
        stride=attributes.get("strides", [1] * rank),
        padding=padding,
        dilation=attributes.get("dilations", [1] * rank),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
    )
    return pooled


def average_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    rank = x.ndim - 2
    counted = bool(attributes.get("count_include_pad", 0))
    x, padding = padded(x, attributes)
    if padding != list(attributes.get("pads", padding))[:rank] and not counted:
        raise StageError("an AveragePool with unequal 'pads' must count its padding.")
    return _MEAN_POOLS[rank - 1](
        x,
        attributes["kernel_shape"],
        stride=attributes.get("strides", [1] * rank),
        padding=padding,
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
        count_include_pad=counted,
    )


def global_average_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def global_max_pool(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return torch.amax(x, dim=tuple(range(2, x.ndim)), keepdim=True)


CONVOLUTION: Mapping[str, Operator] = {
    "AveragePool": average_pool,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
}
