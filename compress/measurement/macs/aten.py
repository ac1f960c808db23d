"""Counts the multiply-accumulates of torch's operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from compress.measurement.macs.formulas import (
    bilinear,
    convolution,
    matmul_macs,
    recurrence,
    transposed_convolution,
)

aten = torch.ops.aten
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Convolution:
    """The settings of a convolution, one number for each spatial axis."""

    stride: Sizes
    padding: Sizes
    dilation: Sizes
    transposed: bool
    output_padding: Sizes
    groups: int


@dataclass(frozen=True)
class Matmul:
    """One matmul, or convolution, of two tensors.

    Attributes
    ----------
    macs : multiply-accumulates.
    shapes : shapes of its two operands, such as (N * heads, S, width) and (N * heads, width, S).
    flipped : whether the second operand is the transpose of a parameter.
    convolution : the settings of a convolution; None for other matmuls.
    activation : the activation right after it, "gelu" or "silu", if there is one.
    """

    macs: int
    shapes: tuple[Sizes, Sizes]
    flipped: bool = False
    convolution: Convolution | None = None
    activation: str | None = None


Multiplied = Iterable[tuple[Matmul, Sequence[Tensor]]]


def _matrices(left: Tensor, right: Tensor, out: Tensor) -> Multiplied:
    """Matmuls (…, M, K) by (…, K, N), those of vectors too."""
    flipped = right.dim() == 2 and right.stride()[0] < right.stride()[1]
    macs = matmul_macs(tuple(out.shape), left.shape[-1])
    yield Matmul(macs, _shapes(left, right), flipped=flipped), (left, right)


def _with_bias(args: Sequence[Any], out: Tensor) -> Multiplied:
    return _matrices(args[1], args[2], out)


def _without_bias(args: Sequence[Any], out: Tensor) -> Multiplied:
    return _matrices(args[0], args[1], out)


def _summed_batches(args: Sequence[Any], out: Tensor) -> Multiplied:
    """The matmuls of `addbmm`: (B, M, K) by (B, K, N), summed over B."""
    _, left, right = args[:3]
    macs = matmul_macs(tuple(out.shape), left.shape[0] * left.shape[2])
    yield Matmul(macs, _shapes(left, right)), (left, right)


def _convolution(args: Sequence[Any], out: Tensor) -> Multiplied:
    values, weight = args[:2]
    stride, padding, dilation, transposed, output_padding, groups = args[3:9]
    numbers = Convolution(
        tuple(stride), tuple(padding), tuple(dilation), transposed, tuple(output_padding), groups
    )
    shapes = _shapes(values, weight)
    macs = (
        transposed_convolution(*shapes) if transposed else convolution(tuple(out.shape), shapes[1])
    )
    yield Matmul(macs, shapes, convolution=numbers), (values, weight)


def _attention(args: Sequence[Any], out: Tensor) -> Multiplied:
    """The two products of attention in one kernel.

    Queries are (N, heads, S, D), keys (N, heads, S_k, D), values (N, heads, S_k, E).
    """
    query, key, value = args[:3]
    every, rows, width = prod(query.shape[:-2]), query.shape[-2], query.shape[-1]
    keys, made = key.shape[-2], value.shape[-1]
    scores = matmul_macs((every, rows, keys), width)
    yield Matmul(scores, ((every, rows, width), (every, width, keys))), (query, key)
    answer = matmul_macs((every, rows, made), keys)
    yield Matmul(answer, ((every, rows, keys), (every, keys, made))), (out, value)


def _recurrence(args: Sequence[Any], out: Tensor) -> Multiplied:
    """One layer of an LSTM in one direction: values (S, N, C), weights (4 * H, C) and (4 * H, H).

    Every other recurrent layer runs as plain matmuls.
    """
    values = args[0]
    positions = prod(values.shape[:-1])
    for weight in args[1:3]:
        shapes = ((positions, weight.shape[1]), (weight.shape[1], weight.shape[0]))
        macs = recurrence(positions, tuple(weight.shape))
        yield Matmul(macs, shapes, flipped=True), (values, weight)


def _bilinear(args: Sequence[Any], out: Tensor) -> Multiplied:
    """The matmuls of inputs (N, left) and (N, right) with the weight (C, left, right)."""
    left, weight, right = args[:3]
    macs = bilinear(prod(left.shape[:-1]), tuple(weight.shape))
    yield Matmul(macs, _shapes(left, weight)), (left, right, weight)


def _shapes(one: Tensor, other: Tensor) -> tuple[Sizes, Sizes]:
    return tuple(one.shape), tuple(other.shape)


MATMULS: dict[Any, Callable[[Sequence[Any], Tensor], Multiplied]] = {
    **dict.fromkeys((aten.mm, aten.bmm, aten.mv, aten.dot, aten.vdot, aten._int_mm), _without_bias),
    **dict.fromkeys((aten.addmm, aten.baddbmm, aten.addmv), _with_bias),
    aten.addbmm: _summed_batches,
    aten.convolution: _convolution,
    aten._convolution: _convolution,
    aten.mkldnn_rnn_layer: _recurrence,
    aten._trilinear: _bilinear,
    **dict.fromkeys(
        (
            aten._scaled_dot_product_flash_attention_for_cpu,
            aten._scaled_dot_product_flash_attention,
            aten._scaled_dot_product_efficient_attention,
            aten._scaled_dot_product_cudnn_attention,
        ),
        _attention,
    ),
}
"""For each operator a function from its arguments and first output to matmuls and operands."""
