"""Reduces masks that hide only padding to (batch, 1, 1, keys), from one row per query.

transformers makes such a mask by twenty operators that index it by every batch row and position.
Attention then adds a matrix for each head where a row would suffice. The operators don't tell
if a mask hides only padding. Therefore the mask is computed for random inputs of several shapes,
and must equal what the attention mask alone gives.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from compress.measurement.session import run, unoptimized_session
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import is_standard

SHAPES = ((1, 1), (1, 5), (2, 3), (3, 8), (4, 1))
"""(batch, sequence) of the trials."""


def padding_masks(model: onnx.ModelProto) -> int:
    """Reduce masks whose rows are equal for all queries to a single row.

    Parameters
    ----------
    model : changed in place; opset 13 or later.

    Returns
    -------
    The number of masks that were reduced.
    """
    graph = Graph(model)
    found = [
        (node, name)
        for node in graph.nodes
        if is_standard(node, "Where") and _spreads(graph, node)
        for name in [_padding(graph, node)]
        if name is not None
    ]
    added = []
    for node, name in found:
        added += _row(graph, node, name)
    if found:
        graph.forget_types({node.output[0] for node, _ in found})
        graph.replace(remove=(), add=added)
    return len(found)


def _spreads(graph: Graph, node: onnx.NodeProto) -> bool:
    """Return whether a Where makes a mask (N, 1, Q, K) of two numbers, only added to scores."""
    shape, readers = graph.shape(node.output[0]) or (), graph.readers(node.output[0])
    values = [graph.value(name) for name in node.input[1:]]
    return (
        len(shape) == 4
        and shape[1] == 1
        and shape[2] != 1
        and node.output[0] not in graph.outputs
        and all(value is not None and value.size == 1 for value in values)
        and all(_covered(graph, reader, node.output[0]) for reader in readers)
    )


def _covered(graph: Graph, reader: onnx.NodeProto, mask: str) -> bool:
    """Return whether a reader is an Add whose other operand has the mask's query axis."""
    if not is_standard(reader, "Add") or len(reader.input) != 2:
        return False
    other = next((name for name in reader.input if name != mask), mask)
    shape, covered = graph.shape(other) or (), graph.shape(mask) or ()
    return len(shape) == len(covered) == 4 and None is not shape[2] == covered[2]


def _padding(graph: Graph, node: onnx.NodeProto) -> str | None:
    """The integer input (N, K) that alone decides the condition; None if there is none."""
    part = graph.ending_in([node.input[0]])
    inputs = list(Graph(part).inputs.values())
    if not inputs or any(not _is_integer_matrix(value) for value in inputs):
        return None
    runtime = unoptimized_session(part, path=Path("mask.onnx"))
    generator = np.random.default_rng(0)
    candidates = [value.name for value in inputs]
    for shape in SHAPES:
        given = {value.name: generator.integers(0, 2, shape) for value in inputs}
        seen = run(runtime, given)[node.input[0]]
        wide = (shape[0], 1, shape[1], shape[1])
        if seen.shape != wide:
            return None
        candidates = [
            name
            for name in candidates
            if np.array_equal(seen, np.broadcast_to(given[name][:, None, None] != 0, wide))
        ]
    return candidates[0] if len(candidates) == 1 else None


def _is_integer_matrix(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return kind.elem_type == TensorProto.INT64 and len(kind.shape.dim) == 2


def _row(graph: Graph, node: onnx.NodeProto, name: str) -> list[onnx.NodeProto]:
    """Nodes that make the condition (N, 1, 1, K) of the input (N, K); `node` then reads it."""
    axes, kept, row = (graph.unused_name(f"{name}.{word}") for word in ("axes", "kept", "row"))
    graph.add_initializer(axes, np.array([1, 2], np.int64))
    node.input[0] = row
    return [
        helper.make_node("Cast", [name], [kept], name=kept, to=TensorProto.BOOL),
        helper.make_node("Unsqueeze", [kept, axes], [row], name=row),
    ]
