"""Fake quantization: quantize and dequantize, with a gradient that passes through the rounding.

The rounding is that of onnxruntime: x / scale in fp32, rounded half to even, plus the zero point,
clipped to the integer type. It is always computed in fp32, whatever precision surrounds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from compress.errors import StageError
from compress.quantization.onnx_torch.operator import Attributes, Inputs, Operator, given


class _FakeQuantize(torch.autograd.Function):
    """Computes clip(round(x / scale)) * scale.

    The gradient of x is 1 where x isn't clipped, and 0 elsewhere. The gradient of the scale is as
    in LSQ (Esser et al., ICLR 2020, arXiv:1902.08153), with a gradient scale of
    1 / sqrt(levels * values of a sample).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
        exact = x.float() / scale
        rounded = exact.round()
        limited = rounded.clamp(low, high)
        inside = rounded == limited
        ctx.dtype, ctx.scale_shape = x.dtype, scale.shape
        if ctx.needs_input_grad[1]:
            levels = float((high - low).max())
            per_sample = x.numel() / max(1, len(x) if x.ndim else 1)
            ctx.grade = (max(1.0, levels * per_sample)) ** -0.5
            ctx.save_for_backward(inside, limited - exact * inside)
        else:
            ctx.save_for_backward(inside)
        return limited.mul_(scale) if not ctx.needs_input_grad[1] else limited * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        inside = ctx.saved_tensors[0]
        of_x = (gradient * inside).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        of_scale = None
        if ctx.needs_input_grad[1]:
            of_scale = (gradient * ctx.saved_tensors[1] * ctx.grade).sum_to_size(ctx.scale_shape)
        return of_x, of_scale, None, None


_fake_quantize: Callable[..., Tensor] = _FakeQuantize.apply


def fake_quantize(x: Tensor, scale: Tensor, zero: Tensor, *, axis: int = 1) -> Tensor:
    """Quantize and dequantize a tensor.

    Parameters
    ----------
    x : any shape.
    scale, zero : one element, or (C,) along the axis. The zero point has the integer type.
    """
    low, high = limits(zero, axis=axis, rank=x.ndim)
    return _fake_quantize(x, along(scale, axis=axis, rank=x.ndim), low, high)


def limits(zero: Tensor, *, axis: int, rank: int) -> tuple[Tensor, Tensor]:
    """Least and largest integer before the zero point is added, shaped to fit x."""
    info = torch.iinfo(zero.dtype)
    shaped = along(zero, axis=axis, rank=rank).to(torch.float32)
    return info.min - shaped, info.max - shaped


def along(values: Tensor, *, axis: int, rank: int) -> Tensor:
    """Per-channel values, shaped to be broadcast along an axis."""
    if values.numel() == 1:
        return values.reshape(())
    extent = [1] * rank
    extent[axis] = -1
    return values.reshape(extent)


class _Round(torch.autograd.Function):
    """Rounds and clips; the gradient is that of the clipping alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        rounded = x.round()
        limited = rounded.clamp(low, high)
        ctx.save_for_backward(rounded == limited)
        return limited

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0] * ctx.saved_tensors[0], None, None


_round: Callable[..., Tensor] = _Round.apply


def quantize_linear(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Quantize to integers that are held as floats, so that gradients pass."""
    x, scale, zero = _read(inputs, attributes)
    axis = attributes.get("axis", 1)
    low, high = limits(zero, axis=axis, rank=x.ndim)
    exact = x.float() / along(scale, axis=axis, rank=x.ndim)
    return _round(exact, low, high) + along(zero, axis=axis, rank=x.ndim)


def dequantize_linear(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, scale, zero = _read(inputs, attributes)
    axis = attributes.get("axis", 1)
    x = x.float() - along(zero, axis=axis, rank=x.ndim)
    return x * along(scale, axis=axis, rank=x.ndim)


def both(inputs: Inputs, attributes: Attributes) -> Tensor:
    """Compute QuantizeLinear and its DequantizeLinear in one step."""
    x, scale, zero = _read(inputs, attributes)
    return fake_quantize(x, scale, zero, axis=attributes.get("axis", 1))


def _read(inputs: Inputs, attributes: Attributes) -> tuple[Tensor, Tensor, Tensor]:
    if attributes.get("block_size", 0):
        raise StageError("quantization in blocks can't be trained here. Got a 'block_size'.")
    x, scale, zero = inputs[0], inputs[1], given(inputs, 2)
    if zero is None:
        integer = x.dtype if not x.is_floating_point() else torch.uint8
        zero = torch.zeros((), dtype=integer, device=x.device)
    return x, scale, zero


FAKE_QUANTIZE = "FakeQuantize"
QUANTIZATION: Mapping[str, Operator] = {
    "DequantizeLinear": dequantize_linear,
    FAKE_QUANTIZE: both,
    "QuantizeLinear": quantize_linear,
}
