"""Element-wise operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.errors import StageError
from compress.quantization.onnx_torch.operator import Attributes, Inputs, Operator, given

# Codes of onnx.TensorProto.DataType.
TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}


def torch_type(code: int) -> torch.dtype:
    """The torch type of an ONNX type's code.

    Raises
    ------
    StageError : torch has none.
    """
    found = TYPES.get(code)
    if found is None:
        raise StageError(f"the graph has values of ONNX type {code}, which can't be trained.")
    return found


def _plain(function: Callable[..., Tensor]) -> Operator:
    """An operator that applies a torch function to the node's inputs, without attributes."""

    def compute(inputs: Inputs, attributes: Attributes) -> Tensor:
        return function(*inputs)

    return compute


def _folded(function: Callable[..., Tensor]) -> Operator:
    """An operator that reduces any number of inputs by a torch function of two."""

    def compute(inputs: Inputs, attributes: Attributes) -> Tensor:
        total: Tensor = reduce(function, inputs)
        return total

    return compute


def divide(left: Tensor, right: Tensor) -> Tensor:
    """Divide tensors; the quotient of integers is truncated towards zero."""
    whole = not left.is_floating_point() and not right.is_floating_point()
    return torch.div(left, right, rounding_mode="trunc" if whole else None)


def power(base: Tensor, exponent: Tensor) -> Tensor:
    if exponent.numel() == 1 and exponent.item() == 2:
        return base * base  # `pow` has a slower gradient
    return torch.pow(base, exponent).to(base.dtype)


def clip(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    limits: list[Any] = []
    for place, name in ((1, "min"), (2, "max")):
        limit = given(inputs, place)
        limits.append(attributes.get(name) if limit is None else limit.item())
    return x if limits == [None, None] else x.clamp(min=limits[0], max=limits[1])


def gelu(inputs: Inputs, attributes: Attributes) -> Tensor:
    return F.gelu(inputs[0], approximate=attributes.get("approximate", "none"))


def leaky_relu(inputs: Inputs, attributes: Attributes) -> Tensor:
    return F.leaky_relu(inputs[0], attributes.get("alpha", 0.01))


def hard_sigmoid(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    line: Tensor = attributes.get("alpha", 0.2) * x + attributes.get("beta", 0.5)
    return line.clamp(0, 1)


def elu(inputs: Inputs, attributes: Attributes) -> Tensor:
    return F.elu(inputs[0], attributes.get("alpha", 1.0))


def cast(inputs: Inputs, attributes: Attributes) -> Tensor:
    x: Tensor = inputs[0]
    return x.to(torch_type(attributes["to"]))


def softplus(x: Tensor) -> Tensor:
    return F.softplus(x, threshold=math.inf)


ELEMENTWISE: Mapping[str, Operator] = {
    "Abs": _plain(torch.abs),
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "Cast": cast,
    "Ceil": _plain(torch.ceil),
    "Clip": clip,
    "Cos": _plain(torch.cos),
    "Div": _plain(divide),
    "Elu": elu,
    "Equal": _plain(torch.eq),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Floor": _plain(torch.floor),
    "Gelu": gelu,
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": _plain(F.hardswish),
    "Identity": _plain(lambda x: x),
    "IsNaN": _plain(torch.isnan),
    "LeakyRelu": leaky_relu,
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Log": _plain(torch.log),
    "Max": _folded(torch.maximum),
    "Min": _folded(torch.minimum),
    "Mul": _plain(torch.mul),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Or": _plain(torch.logical_or),
    "Pow": _plain(power),
    "Reciprocal": _plain(torch.reciprocal),
    "Relu": _plain(torch.relu),
    "Round": _plain(torch.round),
    "Sigmoid": _plain(torch.sigmoid),
    "Sign": _plain(torch.sign),
    "Sin": _plain(torch.sin),
    "Softplus": _plain(softplus),
    "Sqrt": _plain(torch.sqrt),
    "Sub": _plain(torch.sub),
    "Sum": _folded(torch.add),
    "Tanh": _plain(torch.tanh),
    "Where": _plain(torch.where),
    "Xor": _plain(torch.logical_xor),
}
