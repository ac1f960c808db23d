"""Counts the multiply-accumulates of torch's operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


Multiplied = Iterable[tuple[int, Sequence[Tensor]]]
"""Multiply-accumulates of each matmul or convolution, and its operands."""


def _matrices(left: Tensor, right: Tensor, out: Tensor) -> Multiplied:
    """Matmuls (…, M, K) by (…, K, N), those of vectors too."""
    yield matmul_macs(tuple(out.shape), left.shape[-1]), (left, right)


def _with_bias(args: Sequence[Any], out: Tensor) -> Multiplied:
    return _matrices(args[1], args[2], out)


def _without_bias(args: Sequence[Any], out: Tensor) -> Multiplied:
    return _matrices(args[0], args[1], out)


def _summed_batches(args: Sequence[Any], out: Tensor) -> Multiplied:
    """The matmuls of `addbmm`: (B, M, K) by (B, K, N), summed over B."""
    _, left, right = args[:3]
    yield matmul_macs(tuple(out.shape), left.shape[0] * left.shape[2]), (left, right)


def _convolution(args: Sequence[Any], out: Tensor) -> Multiplied:
    values, weight = args[:2]
    transposed = args[6]
    kernel = tuple(weight.shape)
    if transposed:
        macs = transposed_convolution(tuple(values.shape), kernel)
    else:
        macs = convolution(tuple(out.shape), kernel)
    yield macs, (values, weight)


def _attention(args: Sequence[Any], out: Tensor) -> Multiplied:
    """The two products of attention in one kernel.

    Queries are (N, heads, S, D), keys (N, heads, S_k, D), values (N, heads, S_k, E).
    """
    query, key, value = args[:3]
    every, rows, width = prod(query.shape[:-2]), query.shape[-2], query.shape[-1]
    keys, made = key.shape[-2], value.shape[-1]
    yield matmul_macs((every, rows, keys), width), (query, key)
    yield matmul_macs((every, rows, made), keys), (out, value)


def _recurrence(args: Sequence[Any], out: Tensor) -> Multiplied:
    """One layer of an LSTM in one direction: values (S, N, C), weights (4 * H, C) and (4 * H, H).

    Every other recurrent layer runs as plain matmuls.
    """
    values = args[0]
    positions = prod(values.shape[:-1])
    for weight in args[1:3]:
        yield recurrence(positions, tuple(weight.shape)), (values, weight)


def _bilinear(args: Sequence[Any], out: Tensor) -> Multiplied:
    """The matmuls of inputs (N, left) and (N, right) with the weight (C, left, right)."""
    left, weight, right = args[:3]
    yield bilinear(prod(left.shape[:-1]), tuple(weight.shape)), (left, right, weight)


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
"""For each operator a function from its arguments and first output to MACs and operands."""
