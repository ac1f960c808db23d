"""Pairs of layers of an ONNX graph between which channels can be scaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute

Array = NDArray[np.float32]

CONVOLUTION, PRODUCT = "Conv", "Gemm"
_PASSES = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool")
"""Operators f with f(s * x) = s * f(x), channel by channel, for s > 0."""


@dataclass(frozen=True)
class Pair:
    """Two layers, the second of which is the only reader of the first one's output.

    Attributes
    ----------
    first, second : the layers' nodes.
    clip : the node between them that clips at an upper bound, if there is one.
    """

    first: onnx.NodeProto
    second: onnx.NodeProto
    clip: onnx.NodeProto | None = None


class Weights:
    """The float initialisers of a graph, to be changed and stored again."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._arrays: dict[str, Array] = {}

    def alone(self, name: str) -> bool:
        """Return whether a tensor is a float initialiser that exactly one node reads."""
        tensor = self._graph.initializers.get(name)
        is_float = tensor is not None and tensor.data_type == onnx.TensorProto.FLOAT
        return is_float and len(self._graph.readers(name)) == 1

    def __getitem__(self, name: str) -> Array:
        """The array; changes to it are written by `store`."""
        if name not in self._arrays:
            self._arrays[name] = numpy_helper.to_array(self._graph.initializers[name]).copy()
        return self._arrays[name]

    def value(self, name: str) -> Array | None:
        """A constant's numbers; None for any other name, and for an optional input left out."""
        return self._graph.value(name)

    def store(self) -> None:
        """Write all arrays that were asked for into the graph."""
        for name, array in self._arrays.items():
            self._graph.set_initializer(name, array)


def find_pairs(graph: Graph, weights: Weights) -> list[Pair]:
    """All pairs of a graph, in its order.

    Both layers are convolutions (of any number of groups) or `Gemm`s, and no other node reads their
    weights. Each tensor between them has one reader, and isn't an output of the graph. The
    operators between them preserve positive factors of a channel: ReLU, pooling and padding with
    zeros. `Clip` from 0 is allowed too, which preserves them except for its upper bound.
    """
    layers = [node for node in graph.nodes if _is_layer(node, weights, makes=True)]
    found = (_follow(node, graph, weights) for node in layers)
    return [pair for pair in found if pair is not None]


def _follow(first: onnx.NodeProto, graph: Graph, weights: Weights) -> Pair | None:
    clip: onnx.NodeProto | None = None
    node = first
    while True:
        after = graph.only_reader(node.output[0])
        if len(node.output) != 1 or after is None:
            return None
        before, node = node, after
        if not node.input or node.input[0] != before.output[0]:
            return None
        if _is_layer(node, weights, makes=False):
            return Pair(first, node, clip)
        if is_clip_from_zero(node, weights) and clip is None:
            clip = node
        elif node.op_type not in _PASSES and not _is_zero_padding(node, weights):
            return None


def _is_layer(node: onnx.NodeProto, weights: Weights, *, makes: bool) -> bool:
    """Return whether a node is a layer with a weight of its own.

    With `makes`, a bias must be the node's own too.
    """
    if node.op_type not in (CONVOLUTION, PRODUCT) or not weights.alone(node.input[1]):
        return False
    if attribute(node, "transA", 0):
        return False
    bias = node.input[2] if len(node.input) > 2 else ""
    return not makes or not bias or weights.alone(bias)


def is_clip_from_zero(node: onnx.NodeProto, weights: Weights) -> bool:
    """Return whether a node is a `Clip` from 0 to a constant, such as ReLU6."""
    if node.op_type != "Clip" or len(node.input) < 3:
        return False
    low, high = weights.value(node.input[1]), weights.value(node.input[2])
    return low is not None and high is not None and float(low) == 0


def _is_zero_padding(node: onnx.NodeProto, weights: Weights) -> bool:
    if node.op_type != "Pad" or attribute(node, "mode", b"constant") != b"constant":
        return False
    if len(node.input) < 3 or not node.input[2]:
        return True
    value = weights.value(node.input[2])
    return value is not None and not value.any()


def made_channels(node: onnx.NodeProto, weight: Array) -> Array:
    """A view of a layer's weight whose first axis is the layer's output channels."""
    return weight.T if _holds_columns_first(node) else weight


def read_channels(node: onnx.NodeProto, weight: Array) -> Array:
    """A view of a layer's weight whose second axis is the layer's input channels.

    The shape is (groups, input channels of a group, output channels of a group, kernel).
    """
    if node.op_type == PRODUCT:
        rows = weight.T if _holds_columns_first(node) else weight
        return rows.T[None, :, :, None]
    groups = attribute(node, "group", 1)
    split = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    return split.transpose(0, 2, 1, 3)


def _holds_columns_first(node: onnx.NodeProto) -> bool:
    return node.op_type == PRODUCT and not attribute(node, "transB", 0)
