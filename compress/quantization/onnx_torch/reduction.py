"""Operators over whole axes: means, sums, softmax, normalisations, matmuls."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.quantization.onnx_torch.operator import (
    Attributes,
    Inputs,
    Operator,
    given,
    integers,
)


def _reduced(function: Callable[..., Tensor]) -> Operator:
    def compute(inputs: Inputs, attributes: Attributes) -> Tensor:
        x: Tensor = inputs[0]
        axes = integers(inputs, 1, attributes, "axes")
        if not axes:
            if attributes.get("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.ndim))
        return function(x, dim=axes, keepdim=bool(attributes.get("keepdims", 1)))

    return compute


def softmax(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return torch.softmax(x, dim=attributes.get("axis", -1))


def log_softmax(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return torch.log_softmax(x, dim=attributes.get("axis", -1))


def layer_normalization(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    axis = attributes.get("axis", -1) % x.ndim
    shape = x.shape[axis:]
    epsilon = attributes.get("epsilon", 1e-5)
    scale, bias = inputs[1], given(inputs, 2)
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return F.layer_norm(x, shape, scale, bias, epsilon)
    normal: Tensor = F.layer_norm(x, shape, None, None, epsilon) * scale
    return normal if bias is None else normal + bias


def batch_normalization(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, scale, bias, mean, variance = inputs[:5]
    return F.batch_norm(x, mean, variance, scale, bias, eps=attributes.get("epsilon", 1e-5))


def gemm(inputs: Inputs, attributes: Attributes) -> Tensor:
    left, right = inputs[:2]
    left = left.T if attributes.get("transA", 0) else left
    right = right.T if attributes.get("transB", 0) else right
    product: Tensor = left @ right
    alpha, beta, bias = attributes.get("alpha", 1.0), attributes.get("beta", 1.0), given(inputs, 2)
    product = product if alpha == 1 else alpha * product
    if bias is None:
        return product
    return product.add(bias if beta == 1 else beta * bias)


def matmul(inputs: Inputs, attributes: Attributes) -> Tensor:
    return torch.matmul(inputs[0], inputs[1])


def cumulative_sum(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, axis = inputs[0], int(inputs[1])
    reverse = attributes.get("reverse", 0)
    x = x.flip(axis) if reverse else x
    total: Tensor = x.cumsum(axis, dtype=x.dtype)
    total = total.sub(x) if attributes.get("exclusive", 0) else total
    return total.flip(axis) if reverse else total


def argument_of_maximum(inputs: Inputs, attributes: Attributes) -> Tensor:
    x, axis = inputs[0], attributes.get("axis", 0)
    keeps = bool(attributes.get("keepdims", 1))
    if not attributes.get("select_last_index", 0):
        return torch.argmax(x, dim=axis, keepdim=keeps)
    last: Tensor = x.shape[axis] - 1 - torch.argmax(x.flip(axis), dim=axis, keepdim=keeps)
    return last


REDUCTION: Mapping[str, Operator] = {
    "ArgMax": argument_of_maximum,
    "BatchNormalization": batch_normalization,
    "CumSum": cumulative_sum,
    "Gemm": gemm,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": log_softmax,
    "MatMul": matmul,
    "ReduceL2": _reduced(torch.linalg.vector_norm),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceMin": _reduced(torch.amin),
    "ReduceSum": _reduced(torch.sum),
    "Softmax": softmax,
}
