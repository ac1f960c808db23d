"""Types of the operators in the table, and functions that read their inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

Inputs = Sequence[Any]
"""A node's input tensors in order; None for one that is left out in the middle."""
Attributes = Mapping[str, Any]
"""A node's attributes as plain Python values; tensors as torch's."""
Operator = Callable[[Inputs, Attributes], Tensor | tuple[Tensor, ...]]
"""Computes a node's outputs as the ONNX specification says."""


def given(inputs: Inputs, place: int) -> Any:
    """An optional input; None if it is left out."""
    return inputs[place] if place < len(inputs) else None


def integers(inputs: Inputs, place: int, attributes: Attributes, name: str) -> list[int] | None:
    """Integers that are an input in newer opsets and an attribute in older ones; None if absent."""
    tensor = given(inputs, place)
    if tensor is not None:
        return [int(value) for value in tensor.reshape(-1).tolist()]
    found = attributes.get(name)
    return None if found is None else [int(value) for value in found]
