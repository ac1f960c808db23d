"""Replaces multi-head attention by the Attention operator, which ONNX has since opset 23.

The pattern is multi-head attention as it is exported: queries, keys and values split into heads
and transposed, the scaled matmul, a mask added, softmax, the second matmul, and heads put
together again. A single operator needs no transpositions, and no matrices between the steps. The
number of heads is read for each layer, so that layers may differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute, is_standard

OPSET = 23
OLDEST = 18
CHANGED = ("GridSample", "DFT", "GroupNormalization", "Resize", "AveragePool")
"""Operators whose meaning or form changes between these opsets."""

HEADS_FIRST = [0, 2, 1, 3]
KEYS_LAST = [0, 2, 3, 1]


@dataclass(frozen=True)
class _Attention:
    """The inputs of an Attention operator, and the nodes that it replaces."""

    queries: str
    keys: str
    values: str
    mask: str
    heads: int
    scale: float
    output: str
    nodes: tuple[onnx.NodeProto, ...]


@dataclass(frozen=True)
class _Scores:
    """The softmax's input: matmul * scale + mask."""

    matmul: onnx.NodeProto
    mask: str
    scale: float
    nodes: tuple[onnx.NodeProto, ...]


def attention_operators(model: onnx.ModelProto) -> int:
    """Replace each multi-head attention by an Attention operator, and raise the opset to 23.

    Parameters
    ----------
    model : changed in place. It is left as it is if its opset is before 18, or if it has operators
        that changed since.

    Returns
    -------
    The number of attentions that were replaced.
    """
    standard = next((o for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if standard is None or standard.version < OLDEST:
        return 0
    graph = Graph(model)
    if any(is_standard(node, *CHANGED) for node in graph.nodes):
        return 0
    found = [each for node in graph.nodes if (each := _attention(graph, node)) is not None]
    if not found:
        return 0
    graph.replace(
        remove=[node for each in found for node in each.nodes],
        add=[_operator(each) for each in found],
    )
    standard.version = max(standard.version, OPSET)
    return len(found)


def _operator(found: _Attention) -> onnx.NodeProto:
    inputs = [found.queries, found.keys, found.values, *([found.mask] if found.mask else [])]
    return helper.make_node(
        "Attention",
        inputs,
        [found.output],
        name=f"{found.output}.attention",
        q_num_heads=found.heads,
        kv_num_heads=found.heads,
        scale=found.scale,
    )


def _attention(graph: Graph, softmax: onnx.NodeProto) -> _Attention | None:
    if not is_standard(softmax, "Softmax") or attribute(softmax, "axis", -1) not in (-1, 3):
        return None
    scores = _scores(graph, softmax)
    second = graph.only_reader(softmax.output[0])
    if scores is None or second is None or second.input[0] != softmax.output[0]:
        return None
    together = _together(graph, second)
    parts = (
        _split(graph, scores.matmul.input[0], HEADS_FIRST),
        _split(graph, scores.matmul.input[1], KEYS_LAST),
        _split(graph, second.input[1], HEADS_FIRST),
    )
    if together is None or None in parts:
        return None
    (queries, heads), keys, values = (part for part in parts if part is not None)
    if {keys[1], values[1]} != {heads} or not _fits(graph, scores.mask, queries, keys[0]):
        return None
    nodes = (*scores.nodes, softmax, second, *together)
    return _Attention(
        queries, keys[0], values[0], scores.mask, heads, scores.scale, together[-1].output[0], nodes
    )


def _scores(graph: Graph, softmax: onnx.NodeProto) -> _Scores | None:
    """The scores of a softmax: the matmul, a Mul or Div by a number, and an Add of a mask."""
    node = graph.producer(softmax.input[0])
    nodes, mask, scale = [], "", 1.0
    if node is not None and is_standard(node, "Add"):
        nodes.append(node)
        scaled = [name for name in node.input if _number(graph, name) is None]
        above = [graph.producer(name) for name in scaled]
        index = next((i for i, n in enumerate(above) if n and _is_scaled(graph, n)), None)
        if index is None or len(scaled) != 2:
            return None
        mask, node = scaled[1 - index], above[index]
    if node is not None and is_standard(node, "Mul", "Div"):
        nodes.append(node)
        number = _number(graph, node.input[1])
        if number is None:
            return None
        scale = 1 / number if node.op_type == "Div" else number
        node = graph.producer(node.input[0])
    if node is None or not is_standard(node, "MatMul"):
        return None
    nodes.append(node)
    alone = all(graph.only_reader(each.output[0]) is not None for each in nodes)
    return _Scores(node, mask, scale, tuple(nodes)) if alone else None


def _is_scaled(graph: Graph, node: onnx.NodeProto) -> bool:
    if is_standard(node, "Mul", "Div"):
        above = graph.producer(node.input[0])
        return above is not None and is_standard(above, "MatMul")
    return is_standard(node, "MatMul")


def _number(graph: Graph, name: str) -> float | None:
    value = graph.value(name)
    return float(np.ravel(value)[0]) if value is not None and value.size == 1 else None


def _split(graph: Graph, name: str, permutation: list[int]) -> tuple[str, int] | None:
    """The tensor (N, S, H * D) that was split into heads and transposed, and the number H."""
    transpose = graph.producer(name)
    if transpose is None or not is_standard(transpose, "Transpose"):
        return None
    reshape = graph.producer(transpose.input[0])
    if attribute(transpose, "perm", []) != permutation or reshape is None:
        return None
    before = graph.shape(reshape.input[0]) or ()
    after = graph.shape(transpose.input[0]) or ()
    if not is_standard(reshape, "Reshape") or len(before) != 3 or len(after) != 4:
        return None
    heads, width = after[2:]
    whole = isinstance(heads, int) and isinstance(width, int) and before[2] == heads * width
    same = before[:2] == after[:2] and None not in before
    return (reshape.input[0], int(str(heads))) if whole and same else None


def _together(graph: Graph, matmul: onnx.NodeProto) -> tuple[onnx.NodeProto, ...] | None:
    """The transposition and the Reshape that put the heads together again."""
    transpose = graph.only_reader(matmul.output[0])
    if transpose is None or not is_standard(transpose, "Transpose"):
        return None
    reshape = graph.only_reader(transpose.output[0])
    if attribute(transpose, "perm", []) != HEADS_FIRST or reshape is None:
        return None
    before = graph.shape(transpose.output[0]) or ()
    after = graph.shape(reshape.output[0]) or ()
    if not is_standard(reshape, "Reshape") or len(after) != 3 or before[:2] != after[:2]:
        return None
    return transpose, reshape


def _fits(graph: Graph, mask: str, queries: str, keys: str) -> bool:
    """Return whether a mask is (…, queries, keys) without broadcasting, as onnxruntime requires."""
    if not mask:
        return True
    wanted = tuple((graph.shape(name) or (None, None))[1] for name in (queries, keys))
    return (graph.shape(mask) or ())[-2:] == wanted and None not in wanted
