"""Changes the inputs and outputs of a graph: names, types, and nodes before or behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import onnx
from onnx import TensorProto, helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.inner import with_inner

if TYPE_CHECKING:
    from onnx import ModelProto


def rename(model: ModelProto, old: str, new: str) -> None:
    """Give a tensor another name wherever it stands; a tensor that has that name gets another."""
    if old == new:
        return
    graph = Graph(model)
    taken = {name for each in graph.levels for node in each.node for name in node.output}
    taken |= {*graph.names, *graph.outputs, *graph.initializers}
    if new in taken:
        free = f"{new}_"
        while free in taken:
            free += "_"
        _renamed(model, new, free)
    _renamed(model, old, new)


def _renamed(model: ModelProto, old: str, new: str) -> None:
    for graph in with_inner(model.graph):
        for node in graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]
        for values in (graph.input, graph.output, graph.value_info, graph.initializer):
            for value in values:
                if value.name == old:
                    value.name = new


def put_before(model: ModelProto, name: str, kind: str, *more: str, **attributes: Any) -> None:
    """Put a node between an input and its readers; the input keeps its name.

    Parameters
    ----------
    kind, attributes : of the node.
    more : its further inputs.
    """
    inside = f"{name}.{kind.lower()}"
    graph = model.graph
    value = next(value for value in graph.input if value.name == name)
    kept = onnx.ValueInfoProto()
    kept.CopyFrom(value)
    rename(model, name, inside)
    value.CopyFrom(kept)
    node = helper.make_node(kind, [name, *more], [inside], name=f"{name}.{kind}", **attributes)
    graph.node.insert(0, node)


def put_after(model: ModelProto, name: str, nodes: Sequence[tuple[str, list[str]]]) -> None:
    """Put nodes of one input each behind an output, in their order; the output keeps its name.

    Parameters
    ----------
    nodes : each node's operator, and its further inputs.
    """
    before = f"{name}.raw"
    declared = next(value for value in model.graph.output if value.name == name)
    rename(model, name, before)
    for number, (kind, more) in enumerate(nodes):
        made = name if number == len(nodes) - 1 else f"{name}.{kind.lower()}"
        node = helper.make_node(kind, [before, *more], [made], name=f"{name}.{kind}")
        model.graph.node.append(node)
        before = made
    declared.name = name


def keep_outputs(model: ModelProto, names: Sequence[str]) -> None:
    """Keep only these outputs, in this order, and what they need."""
    graph = model.graph
    known = {value.name: value for value in graph.output}
    types, kept = Graph(model), []
    for name in names:
        value = onnx.ValueInfoProto(name=name)
        if name in known:
            value.CopyFrom(known[name])
        else:
            value.type.tensor_type.elem_type = types.element_type(name) or TensorProto.FLOAT
        kept.append(value)
    del graph.output[:]
    graph.output.extend(kept)
    Graph(model).remove_unused()


def require_float(model: ModelProto, name: str, element: int) -> None:
    """Let an output be float32, whatever the element type of the graph's own."""
    if element in (TensorProto.FLOAT, TensorProto.UNDEFINED):
        return
    before = f"{name}.raw"
    declared = next(value for value in model.graph.output if value.name == name)
    rename(model, name, before)
    model.graph.node.append(
        helper.make_node("Cast", [before], [name], name=f"{name}.Cast", to=TensorProto.FLOAT)
    )
    declared.name = name
    declared.type.tensor_type.elem_type = TensorProto.FLOAT
