"""Reads the operator and the attributes of a node."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from onnx import AttributeProto, NodeProto, helper, numpy_helper

Value = TypeVar("Value")
STANDARD = ("", "ai.onnx")
"""Domains of ONNX's own operators."""


def is_standard(node: NodeProto, *kinds: str) -> bool:
    """Return whether a node is one of ONNX's own operators, and of `kinds` if any are given."""
    return node.domain in STANDARD and (not kinds or node.op_type in kinds)


def attribute(node: NodeProto, name: str, default: Value) -> Value:
    """An attribute's value, or the default; texts are bytes."""
    for each in node.attribute:
        if each.name == name:
            value: Value = helper.get_attribute_value(each)
            return value
    return default


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name; graphs are left out, texts are bytes."""
    return {
        each.name: helper.get_attribute_value(each)
        for each in node.attribute
        if each.type not in (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    }


def constant_value(node: NodeProto) -> np.ndarray | None:
    """The values of a `Constant` node; None for another node, for texts and sparse tensors."""
    if not is_standard(node, "Constant"):
        return None
    (given,) = node.attribute
    match given.name:
        case "value":
            return numpy_helper.to_array(given.t)
        case "value_int" | "value_ints":
            return np.array(helper.get_attribute_value(given), dtype=np.int64)
        case "value_float" | "value_floats":
            return np.array(helper.get_attribute_value(given), dtype=np.float32)
        case _:
            return None
