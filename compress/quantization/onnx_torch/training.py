"""Operators of quantization-aware training (QAT), which the ONNX file doesn't contain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from compress.quantization.onnx_torch.fake_quantization import (
    along,
    fake_quantize,
)
from compress.quantization.onnx_torch.operator import Attributes, Inputs, Operator

DOMAIN = "compress.training"
WEIGHT, BIAS, SCALE = "TrainedWeight", "TrainedBias", "TrainedScale"
INT32_LEVELS = 2.0**32 - 2
# onnxruntime keeps a bias this factor away from the limits of int32, by a larger weight scale.
BIAS_ROOM = 1.0001


def weight_scale(weight: Tensor, *, axis: int | None, levels: int) -> Tensor:
    """The symmetric scale of a weight's channels by absolute maximum, as onnxruntime makes it.

    Parameters
    ----------
    axis : the axis of the channels; None for a single scale.
    levels : largest minus least integer.

    Returns
    -------
    (C,) or () fp32, without gradient; 1 for a channel of zeros.
    """
    size = weight.detach().float().abs()
    others = tuple(i for i in range(weight.ndim) if axis is None or i != axis % weight.ndim)
    exact = 2 * (size.amax(others) if others else size).double() / levels
    tiny = torch.finfo(torch.float32).tiny
    return torch.where(exact < tiny, torch.ones_like(exact), exact).float()


def with_room_for_bias(scale: Tensor, *, bias: Tensor, input_scale: Tensor) -> Tensor:
    """A weight's scale, enlarged where the bias would otherwise not fit into int32.

    Parameters
    ----------
    scale : (C,) or (), the weight's scale.
    bias : (C,), whose scale is the product of the weight's and the input's.
    input_scale : ().
    """
    size = bias.detach().double().abs()
    least = BIAS_ROOM * 2 * (size.max() if scale.ndim == 0 else size) / INT32_LEVELS
    exact = scale.double()
    own = exact * input_scale.detach().double()
    return torch.where((own < least) & (own > 0), exact * (least / own), exact).float()


def trained_weight(inputs: Inputs, attributes: Attributes) -> tuple[Tensor, Tensor]:
    """A float weight rounded to its grid, and the grid's scale, which follows the weight.

    The inputs are the weight, the zero point, and for each matmul with a bias, the bias and the
    scale of the matmul's input.
    """
    weight, zero = inputs[:2]
    axis = attributes.get("axis")
    scale = weight_scale(weight, axis=axis, levels=attributes["levels"])
    for bias, input_scale in zip(inputs[2::2], inputs[3::2], strict=True):
        scale = with_room_for_bias(scale, bias=bias, input_scale=input_scale)
    return fake_quantize(weight, scale, zero, axis=axis or 0), scale


class _Nearest(torch.autograd.Function):
    """Rounds a bias to the grid of the matmul that it is added to."""

    @staticmethod
    def forward(ctx: Any, bias: Tensor, scale: Tensor) -> Tensor:
        # int32 has more digits than fp32.
        steps = (bias.double() / scale.double()).round()
        return steps.clamp(-(2.0**31), 2.0**31 - 1).float() * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None


_nearest: Callable[..., Tensor] = _Nearest.apply


def trained_bias(inputs: Inputs, attributes: Attributes) -> Tensor:
    """A float bias rounded to its int32 grid.

    The inputs are the bias, the scale of the matmul's input and the scale of the weight.
    """
    bias, input_scale, scale_of_weight = inputs
    grid = (input_scale.detach() * scale_of_weight).float()
    return _nearest(bias, along(grid, axis=0, rank=1))


def trained_scale(inputs: Inputs, attributes: Attributes) -> Tensor:
    """A positive scale: the initial scale times exp of the learned change."""
    before, change = inputs
    scale: Tensor = before * change.exp()
    return scale


TRAINING: Mapping[str, Operator] = {
    BIAS: trained_bias,
    SCALE: trained_scale,
    WEIGHT: trained_weight,
}
