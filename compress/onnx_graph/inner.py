"""Graphs inside nodes: the branches and bodies of If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto


def inner_graphs(node: NodeProto) -> list[GraphProto]:
    """The graphs that a node holds itself."""
    found: list[GraphProto] = []
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            found.append(attribute.g)
        elif attribute.type == AttributeProto.GRAPHS:
            found += attribute.graphs
    return found


def with_inner(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph, and all graphs inside its nodes."""
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from with_inner(inner)


def reads(node: NodeProto) -> list[str]:
    """Names that a node and the graphs inside it read, each as often as it is read.

    Omitted inputs aren't included; tensors of the inner graphs are.
    """
    names = [name for name in node.input if name]
    for graph in inner_graphs(node):
        for child in graph.node:
            names.extend(reads(child))
        names.extend(value.name for value in graph.output)
    return names


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """All tensors that hold data: initializers, and those in attributes of nodes."""
    for graph in with_inner(model.graph):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        yield from _in_attributes(graph.node)
    for function in model.functions:
        yield from _in_attributes(function.node)


def _in_attributes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
