"""Stores a model's weights in 8 or 16 bits, and lets the runtime compute with them in float.

Each weight becomes integers with a `Cast` and a `Mul` by the scales of its channels, or half
precision with a `Cast`. These are standard operators on constants, which ONNX Runtime computes once
when it loads the file. The loaded model is the float model with rounded weights and runs at its
speed. ONNX Runtime doesn't compute `DequantizeLinear` in advance, and then runs it at every call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from compress.errors import StageError
from compress.onnx_graph.files import load_model
from compress.onnx_graph.graph import Graph
from compress.quantization.selection import kept_in_float
from compress.quantization.storage.channels import WEIGHTS, shared_axes
from compress.quantization.write import write

if TYPE_CHECKING:
    from numpy.typing import NDArray

Bits = Literal[8, 16]
SUFFIX = "_stored"
"""What is added to the name of a weight for its stored values."""
_ADDED = {8: (150, 6), 16: (60, 3)}
"""Bytes that the added nodes need, and how often they hold the weight's name, by bits."""
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class _Weight:
    """A constant with two or more dimensions, and the axes over which it shares scales."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    readers: tuple[NodeProto, ...]

    def saved_bytes(self, bits: Bits) -> int:
        """Return how many bytes fewer it takes in this form than in float32."""
        scales = prod(n for axis, n in enumerate(self.shape) if axis not in self.axes)
        held = bits // 8 * prod(self.shape) + (4 * scales if bits == 8 else 0)
        nodes, names = _ADDED[bits]
        return 4 * prod(self.shape) - held - nodes - names * len(self.name)


def store_weights(
    source: Path,
    *,
    path: Path,
    bits: Bits = 8,
    operators: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
) -> tuple[str, ...]:
    """Write a model whose weights are stored in few bits, and which computes in float.

    Parameters
    ----------
    source : the float model.
    path : the file to write; inputs, outputs, the nodes' names and metadata are kept.
    bits : 8 for integers with one scale for each output channel, symmetric around zero; 16 for
        half precision.
    operators : operator types whose weights are stored; None for all that have weights.
    exclude : patterns (`*`, `?`) of the names of nodes or weights that stay in float.

    Returns
    -------
    Notes that tell what was stored and how far the weights were moved.

    Raises
    ------
    StageError : a pattern matches nothing, or no weight is large enough to save bytes.
    """
    model = load_model(source)
    graph = Graph(model)
    weights = list(_weights(graph, operators))
    named = [(node.name, weight.name) for weight in weights for node in weight.readers]
    excluded = kept_in_float(named, exclude)
    wanted = [
        weight
        for weight in weights
        if weight.saved_bytes(bits) > 0
        and not any(node.name in excluded for node in weight.readers)
    ]
    stored = _Storing(graph, bits)
    for weight in wanted:
        stored.add(weight)
    if not stored.nodes:
        raise StageError("nothing to store: no constant float weight is large enough.")
    stored.finish()
    write(model, path=path, source=source)
    notes = [
        f"stored in {bits} bits and computed in float: {len(stored.nodes)} weights, moved by "
        f"{stored.error():.2%} of their root mean square"
    ]
    if stored.left:
        notes.append(f"left in float, as half precision can't hold them: {', '.join(stored.left)}")
    if excluded:
        notes.append(f"kept in float by 'exclude': {', '.join(sorted(excluded))}")
    return tuple(notes)


def _weights(graph: Graph, operators: Sequence[str] | None) -> Iterator[_Weight]:
    """Yield the float constants of two or more dimensions that operators use as weights."""
    declared = {value.name for value in graph.model.graph.input}
    for name, tensor in graph.initializers.items():
        shape = tuple(tensor.dims)
        if tensor.data_type != TensorProto.FLOAT or len(shape) < 2:
            continue
        if name in declared or name in graph.outputs:
            continue
        readers = graph.readers(name)
        uses = [
            (node, index)
            for node in readers
            for index in WEIGHTS.get(node.op_type, ())
            if index < len(node.input) and node.input[index] == name
        ]
        if uses and (operators is None or all(node.op_type in operators for node, _ in uses)):
            yield _Weight(name, shape, shared_axes(*uses[0], shape), tuple(readers))


class _Storing:
    """The graph whose weights are replaced."""

    def __init__(self, graph: Graph, bits: Bits) -> None:
        self.graph, self.bits = graph, bits
        self.nodes: list[list[NodeProto]] = []
        self.left: list[str] = []
        self._sums = np.zeros(2)

    def add(self, weight: _Weight) -> None:
        """Let a weight be computed from its stored values, under its own name."""
        values = numpy_helper.to_array(self.graph.initializers[weight.name])
        if self.bits == 16 and np.abs(values).max() > _LARGEST:
            self.left.append(weight.name)
            return
        kept, rounded = self._kept(weight, values)
        self._sums += [((rounded - values) ** 2).sum(dtype=float), (values**2).sum(dtype=float)]
        self.graph.set_initializer(weight.name, kept)
        self.graph.initializers[weight.name].name = weight.name + SUFFIX

    def _kept(
        self, weight: _Weight, values: NDArray[np.float32]
    ) -> tuple[NDArray[np.int8 | np.float16], NDArray[np.float32]]:
        """The values to store and the floats that the new nodes make of them."""
        stored = weight.name + SUFFIX
        if self.bits == 16:
            half = values.astype(np.float16)
            self.nodes.append([self._cast(stored, weight.name)])
            return half, half.astype(np.float32)
        integers, scales = _in_8_bits(values, weight.axes)
        scale = self.graph.add_initializer(f"{weight.name}_scale", scales)
        multiply = helper.make_node("Mul", [f"{weight.name}_cast", scale], [weight.name])
        self.nodes.append([self._cast(stored, f"{weight.name}_cast"), multiply])
        return integers, integers * scales

    def finish(self) -> None:
        """Put the new nodes before all others."""
        self.graph.set_nodes([*(node for each in self.nodes for node in each), *self.graph.nodes])

    def error(self) -> float:
        """Root mean square of the rounding errors, relative to that of the weights."""
        return float(np.sqrt(self._sums[0] / max(self._sums[1], np.finfo(float).tiny)))

    def _cast(self, stored: str, output: str) -> NodeProto:
        return helper.make_node("Cast", [stored], [output], to=TensorProto.FLOAT)


def _in_8_bits(
    values: NDArray[np.float32], axes: tuple[int, ...]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers from -127 to 127, and scales that can be broadcast to them."""
    largest = np.abs(values).max(axis=axes, keepdims=True)
    scales = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return np.clip(np.rint(values / scales), -127, 127).astype(np.int8), scales
