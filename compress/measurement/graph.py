"""Reads an ONNX graph without its weights' data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.foreign.boundary import reading
from compress.errors import LoadError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Constant:
    """An initializer, or the tensor of a `Constant` node.

    Attributes
    ----------
    type : a TensorProto.DataType.
    """

    type: int
    shape: Shape


def load_graph(onnx: Path) -> ModelProto:
    """The model of a file: external data left on disk, its local functions written out.

    Raises
    ------
    LoadError : the file can't be read, or isn't an ONNX model.
    """
    from onnx import load
    from onnx.inliner import inline_local_functions

    with reading(f"the ONNX model {onnx}", error=LoadError):
        model = load(str(onnx), load_external_data=False)
        if not model.graph.node:
            raise LoadError(f"can't read the ONNX model {onnx}: its graph has no nodes.")
        return inline_local_functions(model) if model.functions else model


def inner_graphs(node: NodeProto) -> list[GraphProto]:
    """The graphs that a node holds itself: branches and bodies of If, Loop and Scan."""
    from onnx import AttributeProto

    found: list[GraphProto] = []
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            found.append(attribute.g)
        elif attribute.type == AttributeProto.GRAPHS:
            found += attribute.graphs
    return found


def graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph, and all graphs inside its nodes (the branches and bodies of If, Loop and Scan)."""
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from graphs(inner)


def nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes, those of inner graphs included."""
    for each in graphs(graph):
        yield from each.node


def tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """All tensors that hold data: initializers, and those in nodes' attributes."""
    for each in graphs(graph):
        yield from each.initializer
        for sparse in each.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in each.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def constants(graph: GraphProto) -> dict[str, Constant]:
    """Initializers and `Constant` nodes by the name of their tensor, inner graphs included."""
    found: dict[str, Constant] = {}
    for each in graphs(graph):
        for tensor in each.initializer:
            found[tensor.name] = Constant(tensor.data_type, tuple(tensor.dims))
        for sparse in each.sparse_initializer:
            found[sparse.values.name] = Constant(sparse.values.data_type, tuple(sparse.dims))
        for node in each.node:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                constant = _constant(node)
                if constant is not None:
                    found[node.output[0]] = constant
    return found


def _constant(node: NodeProto) -> Constant | None:
    """None for strings, which are neither weights nor operands of a product."""
    from onnx import TensorProto

    attribute = node.attribute[0]
    match attribute.name:
        case "value":
            return Constant(attribute.t.data_type, tuple(attribute.t.dims))
        case "sparse_value":
            values = attribute.sparse_tensor.values
            return Constant(values.data_type, tuple(attribute.sparse_tensor.dims))
        case "value_float":
            return Constant(TensorProto.FLOAT, ())
        case "value_floats":
            return Constant(TensorProto.FLOAT, (len(attribute.floats),))
        case "value_int":
            return Constant(TensorProto.INT64, ())
        case "value_ints":
            return Constant(TensorProto.INT64, (len(attribute.ints),))
        case _:
            return None
