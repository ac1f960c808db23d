"""Frees the axes of batch and sequence that an exporter fixed at the sizes of its example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from onnx import TensorProto, helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute, is_standard
from compress.onnx_graph.types import declared_type

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

BATCH, SEQUENCE = "batch_size", "sequence_length"
"""Names of axes, as in Optimum."""
_BOTH = "tokens of the whole batch"


class Fixed(NamedTuple):
    """The sizes at which a file fixes batch and sequence; None for one that may vary."""

    batch: int | None
    sequence: int | None


def fixed_axes(model: ModelProto, texts: frozenset[str]) -> Fixed:
    """Return the sizes that the inputs fix.

    Parameters
    ----------
    texts : names of the inputs whose second axis is a sequence of tokens.
    """
    shapes = {value.name: declared_type(value).shape or () for value in model.graph.input}
    batch = {shape[0] for shape in shapes.values() if shape and _is_size(shape[0])}
    lengths = {shapes[name][1] for name in texts if len(shapes.get(name, ())) > 1}
    sequence = {length for length in lengths if _is_size(length)}
    return Fixed(_one(batch), _one(sequence))


def declare_axes(
    model: ModelProto, shapes: Mapping[str, tuple[int, ...]], *, texts: frozenset[str], free: bool
) -> None:
    """Declare the inputs' axes: fixed sizes, and names of batch and sequence where they may vary.

    Parameters
    ----------
    shapes : a real batch's shape, by input.
    texts : names of the inputs whose second axis is a sequence of tokens.
    free : let batch and sequence vary even where the file fixes them.
    """
    for value in model.graph.input:
        if value.name not in shapes:
            continue
        before = declared_type(value).shape or ()
        names = (BATCH, SEQUENCE) if value.name in texts else (BATCH,)
        shape = value.type.tensor_type.shape
        shape.ClearField("dim")
        shape.SetInParent()
        for axis, size in enumerate(shapes[value.name]):
            given = before[axis] if axis < len(before) else None
            dim = shape.dim.add()
            if axis < len(names) and (free or not _is_size(given)):
                dim.dim_param = names[axis]
            elif isinstance(given, int):
                dim.dim_value = given
            elif given is not None:
                dim.dim_param = given
            elif axis == 1:  # channels, or features
                dim.dim_value = size


def declare_answer(
    model: ModelProto, name: str, shape: tuple[int, ...], *, texts: bool, fixed: int | None
) -> None:
    """Declare the answer's type and axes as they were seen.

    Parameters
    ----------
    shape : the shape of a real batch's answer; its last axis doesn't vary.
    texts : whether the second of three axes is a sequence of tokens.
    fixed : the only batch size; None if it may vary.
    """
    value = next(value for value in model.graph.output if value.name == name)
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    axes = value.type.tensor_type.shape
    axes.ClearField("dim")
    for axis, size in enumerate(shape):
        dim = axes.dim.add()
        if axis == 0 and fixed is None:
            dim.dim_param = BATCH
        elif axis == 0 and fixed is not None:
            dim.dim_value = fixed
        elif texts and axis == 1 and len(shape) > 2:
            dim.dim_param = SEQUENCE
        else:
            dim.dim_value = size


def free_inside(model: ModelProto, fixed: Fixed, texts: frozenset[str]) -> None:
    """Let shapes that `Reshape` takes from constants follow batch and sequence.

    The recorded shapes inside the graph are forgotten. Whether the answers stay the same is for the
    caller to see.

    Parameters
    ----------
    fixed : the sizes to look for.
    texts : names of the inputs whose second axis is a sequence of tokens.
    """
    graph = Graph(model)
    sizes = _Sizes(graph, next(iter(sorted(texts)), ""))
    for node in graph.nodes:
        if not is_standard(node, "Reshape") or attribute(node, "allowzero", 0):
            continue
        shape = graph.value(node.input[1])
        if shape is None or shape.ndim != 1:
            continue
        varying = dict(_varying([int(size) for size in shape], fixed))
        if varying:
            node.input[1] = sizes.shape(f"{node.name}.free", shape, varying)
    graph.set_nodes([*sizes.nodes, *graph.nodes])
    graph.forget_types(graph.names)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def _varying(shape: Sequence[int], fixed: Fixed) -> Iterator[tuple[int, str]]:
    """Yield the axes of a shape that are the batch, the sequence or both in one, with that name."""
    batch, sequence = fixed
    for axis, size in enumerate(shape):
        if axis == 0 and batch is not None and size == batch:
            yield axis, BATCH
        elif sequence is not None and size == sequence:
            yield axis, SEQUENCE
        elif axis == 0 and sequence is not None and size == (batch or 1) * sequence:
            yield axis, _BOTH


class _Sizes:
    """Shapes for `Reshape` that follow an input's axes.

    Parameters
    ----------
    graph : gets constants.
    tokens : an input (N, S) whose axes give batch and sequence; empty if there is none.

    Attributes
    ----------
    nodes : computed at the beginning of the graph.
    """

    def __init__(self, graph: Graph, tokens: str) -> None:
        self._graph, self._tokens = graph, tokens
        self.nodes: list[NodeProto] = []

    def shape(self, name: str, shape: NDArray[np.int64], varying: Mapping[int, str]) -> str:
        """Return the name of a tensor that is this shape, but for the axes that vary."""
        changed = np.array(shape)
        if len(varying) == 1:
            # Whatever is left; or if another axis is that, the axis of the input.
            changed[next(iter(varying))] = 0 if -1 in shape else -1
            return self._graph.add_initializer(name, changed)
        if not self._tokens:
            return self._graph.add_initializer(name, changed)
        parts = [
            self._size(f"{name}.{axis}", axis, size, varying) for axis, size in enumerate(changed)
        ]
        self.nodes.append(helper.make_node("Concat", parts, [name], name=name, axis=0))
        return name

    def _size(self, name: str, axis: int, size: int, varying: Mapping[int, str]) -> str:
        kind = varying.get(axis)
        if kind is None or kind == _BOTH:
            left = -1 if kind == _BOTH else size
            return self._graph.add_initializer(name, np.array([left], np.int64))
        start = 0 if kind == BATCH else 1
        node = helper.make_node("Shape", [self._tokens], [name], start=start, end=start + 1)
        node.name = name
        self.nodes.append(node)
        return name


def _is_size(axis: object) -> bool:
    return isinstance(axis, int) and axis > 0


def _one(sizes: set[int | str | None]) -> int | None:
    found = [size for size in sizes if isinstance(size, int)]
    return min(found, default=None)
