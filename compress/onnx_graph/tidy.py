"""Brings a graph of another exporter into the form that work on graphs expects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import onnx
from onnx.inliner import inline_local_functions

from compress.onnx_graph.inner import with_inner
from compress.onnx_graph.nodes import is_standard

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

IR_VERSION = 10
"""The version of the format that torch's exporter writes."""
OPSET = 18
"""The oldest opset that every stage here works with."""


def tidied(model: ModelProto) -> ModelProto:
    """Return a model in which every node has a name of its own, and weights are initializers.

    Local functions are inlined. Weights that are declared as inputs, or held by `Constant` nodes,
    become plain initializers.
    """
    if model.functions:
        model = inline_local_functions(model)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    for place in reversed(range(len(graph.input))):
        if graph.input[place].name in weights:
            del graph.input[place]
    for place in reversed(range(len(graph.node))):
        node = graph.node[place]
        if is_standard(node, "Constant") and node.attribute[0].name == "value":
            tensor = graph.initializer.add()
            tensor.CopyFrom(node.attribute[0].t)
            tensor.name = node.output[0]
            del graph.node[place]
    model.ir_version = max(model.ir_version, IR_VERSION)
    _name_nodes(node for each in with_inner(graph) for node in each.node)
    return model


def _name_nodes(nodes: Iterable[NodeProto]) -> None:
    every = list(nodes)
    taken = {node.name for node in every}
    seen: set[str] = set()
    for number, node in enumerate(every):
        if not node.name or node.name in seen:
            name = f"{node.name or node.op_type}_{number}"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        seen.add(node.name)


def with_newer_opset(model: ModelProto) -> ModelProto | None:
    """Return the model with opset 18; None if onnx can't convert it."""
    standard = [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not standard or standard[0].version >= OPSET:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError):
        return None  # the converter's C++ code knows no other errors
    _name_nodes(node for each in with_inner(converted.graph) for node in each.node)
    return converted
