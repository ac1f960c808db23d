"""Operators that pick elements by index."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.quantization.onnx_torch.operator import Attributes, Inputs, Operator


def gather(inputs: Inputs, attributes: Attributes) -> Tensor:
    table, places = inputs
    axis = attributes.get("axis", 0) % table.ndim
    places = torch.where(places < 0, places + table.shape[axis], places)
    if axis == 0 and table.ndim == 2 and table.is_floating_point():
        return F.embedding(places, table)
    picked: Tensor = table.index_select(axis, places.reshape(-1))
    return picked.reshape(*table.shape[:axis], *places.shape, *table.shape[axis + 1 :])


def gather_elements(inputs: Inputs, attributes: Attributes) -> Tensor:
    table, places = inputs
    axis = attributes.get("axis", 0) % table.ndim
    places = torch.where(places < 0, places + table.shape[axis], places)
    return torch.gather(table, axis, places)


def gather_nd(inputs: Inputs, attributes: Attributes) -> Tensor:
    table, places = inputs
    common = attributes.get("batch_dims", 0)
    indices: list[Tensor] = []
    for axis in range(common):  # each sample picks from its own part of the table
        extent = [1] * (places.ndim - 1)
        extent[axis] = -1
        indices.append(torch.arange(table.shape[axis], device=table.device).reshape(extent))
    picked: Tensor = table[(*indices, *places.unbind(-1))]
    return picked


INDEXING: Mapping[str, Operator] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
}
