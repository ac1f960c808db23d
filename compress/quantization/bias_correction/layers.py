"""Layers of a float ONNX graph and of its quantized form, and the biases of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[np.float32]

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BIAS_INPUT = 2
_LAST = -1
_DEQUANTIZE = "DequantizeLinear"


@dataclass(frozen=True, eq=False)
class BiasedLayer:
    """A layer of both graphs.

    Attributes
    ----------
    node, quantized : the node that adds the bias, in either graph.
    place : where the bias is among its inputs; behind the last of them where it has none.
    axis : of its output's channels.
    bias : (channels,) in float.
    factor : what it is multiplied by when it is added.
    """

    node: onnx.NodeProto
    quantized: onnx.NodeProto
    place: int
    axis: int
    bias: Array
    factor: float = 1.0

    def shift(self, error: Array, *graphs: onnx.GraphProto) -> None:
        """Subtract (channels,) from the outputs, in both graphs, by a bias of the layer's own."""
        name = f"{self.node.name}_corrected_bias"
        values = (self.bias - error / self.factor).astype(np.float32)
        for node, graph in zip((self.node, self.quantized), graphs, strict=True):
            del node.input[self.place : self.place + 1]
            node.input.insert(self.place, name)
            graph.initializer.append(numpy_helper.from_array(values, name))


def biased_layers(
    source: onnx.GraphProto, quantized: onnx.GraphProto
) -> tuple[list[BiasedLayer], list[str]]:
    """The layers whose weights are quantized, in the graph's order; and those without a bias.

    A convolution or `Gemm` without a bias gets one. A `MatMul` has its bias in the `Add` that
    alone reads it; without one it is among those of the second list, by name.
    """
    constants = {tensor.name: tensor for tensor in source.initializer}
    twins = {node.name: node for node in quantized.node}
    made = {name: node.op_type for node in quantized.node for name in node.output}
    layers: list[BiasedLayer] = []
    without: list[str] = []
    for node in source.node:
        twin = twins.get(node.name)
        if node.op_type not in _LAYERS or twin is None or node.input[1] not in constants:
            continue
        if twin.op_type != node.op_type or made.get(twin.input[1]) != _DEQUANTIZE:
            continue
        if node.op_type == "MatMul":
            found = _with_sum(node, source, twins, constants)
        else:
            found = _with_input(node, twin, constants)
        if found is None:
            without.append(node.name)
        else:
            layers.append(found)
    return layers, without


def _with_input(
    node: onnx.NodeProto, twin: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]
) -> BiasedLayer | None:
    """The layer that has its bias itself; None where that is no constant."""
    weight = constants[node.input[1]].dims
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    if node.op_type == "Conv":
        channels = weight[0]
    elif node.op_type == "ConvTranspose":
        channels = weight[1] * attributes.get("group", 1)
    else:
        channels = weight[0 if attributes.get("transB", 0) else 1]
    bias = np.zeros(channels, np.float32)
    if len(node.input) > _BIAS_INPUT and node.input[_BIAS_INPUT]:
        given = constants.get(node.input[_BIAS_INPUT])
        if given is None:
            return None
        bias = bias + numpy_helper.to_array(given).reshape(-1)
    factor = float(attributes.get("beta", 1.0)) if node.op_type == "Gemm" else 1.0
    return BiasedLayer(node, twin, _BIAS_INPUT, 1, bias, factor)


def _with_sum(
    product: onnx.NodeProto,
    graph: onnx.GraphProto,
    twins: Mapping[str, onnx.NodeProto],
    constants: Mapping[str, onnx.TensorProto],
) -> BiasedLayer | None:
    """The layer that a product and the sum with its bias make; None where there is no such sum."""
    readers = [node for node in graph.node if product.output[0] in node.input]
    if len(readers) != 1 or readers[0].op_type != "Add" or readers[0].name not in twins:
        return None
    node = readers[0]
    place = 1 - list(node.input).index(product.output[0])
    tensor = constants.get(node.input[place])
    channels = constants[product.input[1]].dims[_LAST]
    if tensor is None or tensor.data_type != onnx.TensorProto.FLOAT:
        return None
    bias = numpy_helper.to_array(tensor)
    if bias.size not in (1, channels) or bias.shape[_LAST:] != (bias.size,):
        return None
    spread = np.broadcast_to(bias.reshape(_LAST), (channels,))
    return BiasedLayer(node, twins[node.name], place, _LAST, spread)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove initialisers that no node reads any more."""
    used = {name for node in graph.node for name in _read(node)}
    used |= {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """All names that a node reads, from graphs inside it too."""
    yield from node.input
    for attribute in node.attribute:
        for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            yield from (value.name for value in inner.output)
            for each in inner.node:
                yield from _read(each)


def ending_in(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """The part of a model that computes some tensors, and has them as its outputs."""
    part = onnx.ModelProto()
    part.CopyFrom(model)
    wanted = set(names)
    kept = []
    for node in reversed(model.graph.node):  # sorted: what is read is made before
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(_read(node))
    graph = part.graph
    del graph.node[:], graph.output[:]
    graph.node.extend(reversed(kept))
    graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    drop_unused(graph)
    return part
