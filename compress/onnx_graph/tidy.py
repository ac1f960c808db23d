"""Brings a graph of another exporter into the form that work on graphs expects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import onnx
from onnx.inliner import inline_local_functions

from compress.onnx_graph.inner import with_inner
from compress.onnx_graph.light import without_large_weights
from compress.onnx_graph.nodes import is_standard

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, OperatorSetIdProto

IR_VERSION = 10
"""The version of the format that torch's exporter writes."""
OPSET = 18
"""The oldest opset that every stage here works with."""


def tidy(model: ModelProto) -> None:
    """Give every node of a model a name of its own, and let weights be initializers.

    Local functions are inlined. Weights that are declared as inputs, or held by `Constant` nodes,
    become plain initializers. A model with operators of other domains alone gets an opset of ONNX's
    own, which changes of it need.
    """
    if model.functions:
        without_large_weights(model, inline_local_functions)
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
    if not _own_opsets(model):
        model.opset_import.add(domain="", version=OPSET)
    _name_nodes(node for each in with_inner(graph) for node in each.node)


def _own_opsets(model: ModelProto) -> list[OperatorSetIdProto]:
    return [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]


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


def raise_opset(model: ModelProto) -> bool:
    """Raise a model's opset to 18; return False, with the model as before, if onnx can't."""
    standard = _own_opsets(model)
    if not standard or standard[0].version >= OPSET:
        return True
    try:
        without_large_weights(
            model, lambda light: onnx.version_converter.convert_version(light, OPSET)
        )
    except (RuntimeError, ValueError):
        return False  # the converter's C++ code knows no other errors
    _name_nodes(node for each in with_inner(model.graph) for node in each.node)
    return True
