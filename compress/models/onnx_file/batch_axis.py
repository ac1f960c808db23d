"""Frees the axes of batch and sequence that an exporter fixed at the sizes of its example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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
_MOST_AXES = 6
"""Axes of a shape; longer constants are something else."""


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
    """Declare an output's type and axes: those that are known, or else those that were seen.

    Parameters
    ----------
    shape : the shape of a real batch's answer.
    texts : whether the second axis is a sequence of tokens, if it varies.
    fixed : the only batch size; None if it may vary.
    """
    known = Graph(model).shape(name) or ()
    value = next(value for value in model.graph.output if value.name == name)
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    axes = value.type.tensor_type.shape
    axes.ClearField("dim")
    for axis, size in enumerate(shape):
        given = known[axis] if axis < len(known) else None
        dim = axes.dim.add()
        if axis == 0 and fixed is not None:
            dim.dim_value = fixed
        elif axis == 0:
            dim.dim_param = BATCH
        elif texts and axis == 1 and (len(shape) > 2 or isinstance(given, str)):
            dim.dim_param = SEQUENCE
        elif isinstance(given, str):
            dim.dim_param = given
        elif axis == len(shape) - 1 or _is_size(given):
            dim.dim_value = size


def free_inside(model: ModelProto, fixed: Fixed, texts: frozenset[str]) -> None:
    """Let shapes and positions that are constants follow batch and sequence.

    These are the shapes that `Reshape` takes, and tables that are added to all tokens. The recorded
    shapes inside the graph are forgotten. Whether the answers stay the same is for the caller to
    see.

    Parameters
    ----------
    fixed : the sizes to look for.
    texts : names of the inputs whose second axis is a sequence of tokens.
    """
    graph = Graph(model)
    sizes = _Sizes(graph, next(iter(sorted(texts)), ""))
    for node in graph.nodes:
        if not is_standard(node, "Reshape", "Expand") or attribute(node, "allowzero", 0):
            continue
        shape = graph.value(node.input[1])
        if shape is None or shape.ndim != 1:
            continue
        varying = dict(_varying([int(size) for size in shape], fixed))
        if node.op_type == "Expand":  # 1 expands to any batch
            varying = {at: kind for at, kind in varying.items() if shape[at] != 1}
        if varying:
            fills = node.op_type == "Reshape"
            node.input[1] = sizes.shape(f"{node.name}.free", shape, varying, fills=fills)
    if fixed.sequence is not None and texts:
        _cut_constants(graph, sizes, fixed.sequence)
    graph.set_nodes([*sizes.nodes, *graph.nodes])
    graph.forget_types(graph.names)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def _cut_constants(graph: Graph, sizes: _Sizes, sequence: int) -> None:
    """Let constants that go along the tokens be as long as the text.

    These are the numbers of positions (or zeros, for the types of tokens) along one axis, tables
    (1, S, H) or (S, H) that are added to all tokens, and shapes from which others are computed.
    """
    for node in graph.nodes:
        for at, name in enumerate(node.input):
            values = graph.value(name) if name in graph.initializers else None
            if values is None:
                continue
            axis = _along(values, sequence, added=node.op_type == "Add")
            if axis is not None:
                node.input[at] = sizes.cut(name, axis=axis)
            elif values.ndim == 1 and values.dtype == np.int64 and 1 < values.size <= _MOST_AXES:
                varying = {at: SEQUENCE for at, size in enumerate(values) if size == sequence}
                if varying:
                    free = f"{node.name}.{at}.free"
                    node.input[at] = sizes.shape(free, values, varying, fills=False)


def _along(values: NDArray[Any], sequence: int, *, added: bool) -> int | None:
    """Return the axis along which a constant goes with the tokens; None if it doesn't."""
    if values.size == sequence and values.ndim > 1 and values.dtype.kind == "i":
        flat = values.ravel()
        counts = (flat == np.arange(sequence)).all() or (flat == flat[0]).all()
        return values.shape.index(sequence) if counts else None
    tokens = values.shape[:-1] in ((1, sequence), (sequence,))
    if added and tokens and values.shape[-1] != sequence and values.dtype.kind == "f":
        return values.ndim - 2
    return None


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
        self._cut: set[str] = set()

    def shape(
        self, name: str, shape: NDArray[np.int64], varying: Mapping[int, str], *, fills: bool
    ) -> str:
        """Return the name of a tensor that is this shape, but for the axes that vary.

        Parameters
        ----------
        fills : whether its reader takes -1 for whatever is left, as `Reshape` does.
        """
        changed = np.array(shape)
        if len(varying) == 1 and fills:
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

    def cut(self, name: str, *, axis: int) -> str:
        """Return the name of a constant's part that is as long as the sequence."""
        made = f"{name}.cut"
        if made not in self._cut:
            self._cut.add(made)
            zero = self._graph.add_initializer(f"{made}.from", np.array([0], np.int64))
            along = self._graph.add_initializer(f"{made}.axis", np.array([axis], np.int64))
            end = self._size(f"{made}.to", 0, 0, {0: SEQUENCE})
            node = helper.make_node("Slice", [name, zero, end, along], [made], name=made)
            self.nodes.append(node)
        return made

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
