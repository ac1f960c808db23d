"""Layers of a float ONNX graph and of its quantized form, and the biases of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute

Array = NDArray[np.float32]

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BIAS_INPUT = 2
_LAST = -1
_DEQUANTIZE = "DequantizeLinear"


@dataclass(frozen=True, eq=False)
class BiasedLayer:
    """A layer that is in both graphs.

    Attributes
    ----------
    node, quantized : the node that adds the bias, in either graph.
    place : index of the bias among the node's inputs; one past the last input if it has no bias.
    axis : the axis of the channels of the layer's output.
    bias : (channels,) the float bias.
    factor : the factor by which the node multiplies the bias.
    """

    node: onnx.NodeProto
    quantized: onnx.NodeProto
    place: int
    axis: int
    bias: Array
    factor: float = 1.0

    def shift(self, error: Array, *graphs: Graph) -> None:
        """Subtract `error` (channels,) from the outputs in both graphs, by a new bias."""
        name = f"{self.node.name}_corrected_bias"
        values = (self.bias - error / self.factor).astype(np.float32)
        for node, graph in zip((self.node, self.quantized), graphs, strict=True):
            del node.input[self.place : self.place + 1]
            node.input.insert(self.place, name)
            graph.add_initializer(name, values)
            graph.forget()


def biased_layers(source: Graph, quantized: Graph) -> tuple[list[BiasedLayer], list[str]]:
    """The layers with quantized weights in the graph's order, and the names of those without bias.

    A convolution or `Gemm` without a bias gets one. The bias of a `MatMul` is in the `Add` that is
    its only reader; a `MatMul` without such an `Add` is in the second list.
    """
    layers: list[BiasedLayer] = []
    without: list[str] = []
    for node in source.nodes:
        twin = quantized.named(node.name)
        if node.op_type not in _LAYERS or twin is None or node.input[1] not in source.initializers:
            continue
        if twin.op_type != node.op_type or not quantized.made_by(twin.input[1], _DEQUANTIZE):
            continue
        if node.op_type == "MatMul":
            found = _with_sum(node, source, quantized)
        else:
            found = _with_input(node, twin, source)
        if found is None:
            without.append(node.name)
        else:
            layers.append(found)
    return layers, without


def _with_input(node: onnx.NodeProto, twin: onnx.NodeProto, source: Graph) -> BiasedLayer | None:
    """A layer whose node has the bias as an input; None if the bias isn't constant."""
    weight = source.initializers[node.input[1]].dims
    if node.op_type == "Conv":
        channels = weight[0]
    elif node.op_type == "ConvTranspose":
        channels = weight[1] * attribute(node, "group", 1)
    else:
        channels = weight[0 if attribute(node, "transB", 0) else 1]
    bias = np.zeros(channels, np.float32)
    if len(node.input) > _BIAS_INPUT and node.input[_BIAS_INPUT]:
        given = source.initializers.get(node.input[_BIAS_INPUT])
        if given is None:
            return None
        bias = bias + numpy_helper.to_array(given).reshape(-1)
    factor = attribute(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0
    return BiasedLayer(node, twin, _BIAS_INPUT, 1, bias, factor)


def _with_sum(matmul: onnx.NodeProto, source: Graph, quantized: Graph) -> BiasedLayer | None:
    """The layer of a matmul and the `Add` of its bias; None if there is no such `Add`."""
    readers = source.readers(matmul.output[0])
    if len(readers) != 1 or readers[0].op_type != "Add":
        return None
    node, twin = readers[0], quantized.named(readers[0].name)
    if twin is None:
        return None
    place = 1 - list(node.input).index(matmul.output[0])
    tensor = source.initializers.get(node.input[place])
    channels = source.initializers[matmul.input[1]].dims[_LAST]
    if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
        return None
    bias = numpy_helper.to_array(tensor)
    if bias.size not in (1, channels) or bias.shape[_LAST:] != (bias.size,):
        return None
    spread = np.broadcast_to(bias.reshape(_LAST), (channels,))
    return BiasedLayer(node, twin, place, _LAST, spread)
