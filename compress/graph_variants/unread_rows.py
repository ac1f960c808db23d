"""Computes only the rows that are read, such as a classifier's first token in the last layer.

If a `Gather` picks one position of an axis, the other positions needn't be computed. In the last
layer of BERT these are positions of the queries, the attention's output, the feed-forward part and
the normalisations. The `Gather` moves up through operators that treat all positions alike, to the
point where every position is needed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.inner import reads
from compress.onnx_graph.nodes import attribute, is_standard
from compress.onnx_graph.types import Shape

ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Sum", "Pow", "Max", "Min"),
    *("Gelu", "Relu", "Tanh", "Sigmoid", "Erf", "Sqrt", "Neg", "Cast", "Clip", "HardSwish"),
)

Wish = tuple[int, int]
"""An axis, and the only position on it that is read."""


@dataclass
class _Plan:
    """The wishes of the readers of each tensor, and the tensors that become narrow."""

    wishes: defaultdict[str, list[Wish | None]] = field(default_factory=lambda: defaultdict(list))
    narrow: dict[str, Wish] = field(default_factory=dict)


def unread_rows(model: onnx.ModelProto) -> int:
    """Move every `Gather` of one constant position up as far as that saves work.

    Parameters
    ----------
    model : changed in place; opset 13 or later, otherwise left as it is.

    Returns
    -------
    The number of matmuls with weights that are computed for fewer rows.
    """
    graph = Graph(model)
    plan = _plan(graph)
    matmuls = [
        node
        for node in graph.nodes
        if is_standard(node, "MatMul")
        and node.output[0] in plan.narrow
        and node.input[1] in graph.initializers
    ]
    if matmuls:
        _apply(graph, plan)
    return len(matmuls)


def _plan(graph: Graph) -> _Plan:
    """Plan from the last node to the first, so that all readers of a tensor come first."""
    plan = _Plan()
    for node in reversed(graph.nodes):
        picked = _picked(graph, node)
        if picked is not None:
            plan.wishes[node.input[0]].append(picked)
            continue
        wish = _common(graph, plan, node)
        operands = None if wish is None else _operands(graph, node, wish)
        if wish is None or operands is None:
            for name in reads(node):
                plan.wishes[name].append(None)
            continue
        plan.narrow[node.output[0]] = wish
        for name, axis in zip(node.input, operands, strict=True):
            plan.wishes[name].append(None if axis is None else (axis, wish[1]))
    return plan


def _picked(graph: Graph, node: onnx.NodeProto) -> Wish | None:
    """The axis and position of a Gather of one position."""
    if not is_standard(node, "Gather") or node.input[0] in graph.initializers:
        return None
    index, shape = graph.value(node.input[1]), graph.shape(node.input[0])
    if index is None or index.size != 1 or shape is None or int(index.ravel()[0]) < 0:
        return None
    axis = attribute(node, "axis", 0) % len(shape)
    return None if shape[axis] in (None, 1) else (axis, int(index.ravel()[0]))


def _common(graph: Graph, plan: _Plan, node: onnx.NodeProto) -> Wish | None:
    """The common wish of all readers of a node's only output; None if there is none."""
    if len(node.output) != 1 or node.output[0] in graph.outputs:
        return None
    wishes = set(plan.wishes[node.output[0]])
    inner = len(wishes) == 1 and graph.shape(node.output[0]) is not None
    return wishes.pop() if inner else None


def _operands(graph: Graph, node: onnx.NodeProto, wish: Wish) -> list[int | None] | None:
    """For each input the axis that becomes narrow, or None; None if the node can't be narrow."""
    shapes = [graph.shape(name) for name in node.input if name]
    if len(shapes) != len(node.input) or any(shape is None for shape in shapes):
        return None
    known = [shape for shape in shapes if shape is not None]
    axis, output = wish[0], graph.shape(node.output[0]) or ()
    if is_standard(node, *ELEMENTWISE):
        return _broadcast(known, axis, output)
    of_matmul = is_standard(node, "MatMul") and axis == len(output) - 2
    of_reshape = is_standard(node, "Reshape") and _target(known[0], output, axis) is not None
    if of_reshape or (of_matmul and len(known[0]) == len(output)):
        return [axis, None]
    if is_standard(node, "LayerNormalization", "Softmax"):
        along = attribute(node, "axis", -1) % len(output)
        return [axis, *(None for _ in known[1:])] if axis < along else None
    if is_standard(node, "Transpose"):
        permutation = attribute(node, "perm", list(range(len(output)))[::-1])
        return [permutation[axis]]
    return None


def _broadcast(shapes: list[Shape], axis: int, output: Shape) -> list[int | None] | None:
    found: list[int | None] = []
    for shape in shapes:
        own = axis - (len(output) - len(shape))
        if own < 0 or shape[own] == 1:
            found.append(None)
        elif shape[own] == output[axis] and shape[own] is not None:
            found.append(own)
        else:
            return None
    return found


def _target(source: Shape, output: Shape, axis: int) -> list[int] | None:
    """The constant shape of a narrow Reshape that keeps `axis` and all axes before it."""
    if (
        len(source) <= axis
        or source[: axis + 1] != output[: axis + 1]
        or None in source[: axis + 1]
    ):
        return None
    rest = [dim if isinstance(dim, int) else -1 for dim in output[axis + 1 :]]
    if rest.count(-1) > 1:
        return None
    return [*(0 for _ in range(axis)), 1, *rest]


def _apply(graph: Graph, plan: _Plan) -> None:
    """Make nodes compute narrow tensors, with a Gather of one row where wide ones come in."""
    rows: dict[tuple[str, Wish], onnx.NodeProto] = {}
    for node in graph.nodes:
        wish = plan.narrow.get(node.output[0]) if node.output else None
        picked = _picked(graph, node)
        if picked is not None and node.input[0] in plan.narrow:
            index = graph.value(node.input[1])
            node.input[1] = _constant(graph, "first_position", np.zeros_like(index))
        if wish is None:
            continue
        operands = _operands(graph, node, wish) or []
        if is_standard(node, "Reshape"):
            target = _target(
                graph.shape(node.input[0]) or (), graph.shape(node.output[0]) or (), wish[0]
            )
            node.input[1] = _constant(graph, f"{node.output[0]}.narrow", np.array(target, np.int64))
            del node.attribute[:]  # with `allowzero` a 0 wouldn't keep the dimension
        for place, axis in enumerate(operands):
            name = node.input[place]
            if axis is not None and name not in plan.narrow:
                key = name, (axis, wish[1])
                if key not in rows:
                    rows[key] = _row(graph, *key)
                node.input[place] = rows[key].output[0]
    # Their recorded shapes are those of the wide tensors.
    graph.forget_types(plan.narrow)
    graph.replace(remove=(), add=list(rows.values()))


def _row(graph: Graph, name: str, wish: Wish) -> onnx.NodeProto:
    """A Gather that keeps the axis, with one position in it."""
    row = graph.unused_name(f"{name}.row")
    position = _constant(graph, f"{row}.position", np.array([wish[1]], np.int64))
    return helper.make_node("Gather", [name, position], [row], name=row, axis=wish[0])


def _constant(graph: Graph, name: str, value: np.ndarray) -> str:
    return graph.add_initializer(graph.unused_name(name), value)
