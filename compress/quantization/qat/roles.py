"""Roles of the constants of a QDQ graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onnx import TensorProto

from compress.errors import StageError
from compress.onnx_graph.nodes import attribute

if TYPE_CHECKING:
    import onnx

    from compress.onnx_graph.graph import Graph

SUFFIX = "_quantized"
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Stored:
    """An integer initialiser and its DequantizeLinear.

    Attributes
    ----------
    name : name of the float tensor that it was made from.
    integers, scale, zero : names of the initialisers; zero is "" if there is none.
    output : name of the dequantized value.
    axis : the axis of the channels; None for a single scale.
    """

    name: str
    integers: str
    scale: str
    zero: str
    output: str
    axis: int | None


@dataclass(frozen=True)
class Bias:
    """An int32 bias, with the scale of the matmul's input and its weight."""

    stored: Stored
    input_scale: str
    weight: Stored


@dataclass(frozen=True)
class Roles:
    """The constants of a QDQ graph.

    Attributes
    ----------
    weights : symmetric weights of matmuls and convolutions.
    biases : int32 biases.
    others : tables, and constants that are added or multiplied; each has a grid of its own.
    scales : names of the activations' scales.
    """

    weights: tuple[Stored, ...]
    biases: tuple[Bias, ...]
    others: tuple[Stored, ...]
    scales: tuple[str, ...]

    @property
    def stored(self) -> tuple[Stored, ...]:
        """All integer initialisers."""
        return (*self.weights, *(bias.stored for bias in self.biases), *self.others)


def find_roles(graph: Graph) -> Roles:
    """Read a QDQ graph as onnxruntime's quantizer writes it.

    Raises
    ------
    StageError : the graph has no quantized weights, or an int32 constant isn't a bias.
    """
    types = graph.initializers
    stored = {
        node.output[0]: _stored(node, types)
        for node in graph.nodes
        if node.op_type == "DequantizeLinear" and node.input[0] in types
    }
    biases, weights, others = [], [], []
    for output, found in stored.items():
        if types[found.integers].data_type == TensorProto.INT32:
            biases.append(_bias(found, graph, stored))
        elif _is_weight(output, graph.readers(output)):
            weights.append(found)
        else:
            others.append(found)
    if not weights:
        raise StageError("the file has no quantized weights in QDQ form; there's nothing to train.")
    asked = (node.input[1] for node in graph.nodes if node.op_type == "QuantizeLinear")
    activations = tuple(dict.fromkeys(name for name in asked if not types[name].dims))
    return Roles(tuple(weights), tuple(biases), tuple(others), activations)


def _stored(node: onnx.NodeProto, types: dict[str, onnx.TensorProto]) -> Stored:
    scale = types[node.input[1]]
    axis = attribute(node, "axis", 1)
    per_channel = len(scale.dims) == 1 and scale.dims[0] > 1
    return Stored(
        name=node.input[0].removesuffix(SUFFIX),
        integers=node.input[0],
        scale=node.input[1],
        zero=node.input[2] if len(node.input) > 2 else "",
        output=node.output[0],
        axis=axis % len(types[node.input[0]].dims) if per_channel else None,
    )


def _is_weight(output: str, readers: Iterable[onnx.NodeProto]) -> bool:
    return all(node.op_type in _PRODUCTS and node.input[1] == output for node in readers)


def _bias(found: Stored, graph: Graph, stored: dict[str, Stored]) -> Bias:
    readers = graph.readers(found.output)
    reader = readers[0] if len(readers) == 1 else None
    if reader is None or reader.op_type not in _PRODUCTS:
        raise StageError(
            f"{found.name!r} is stored in int32, and isn't the bias of one {', '.join(_PRODUCTS)}; "
            "it can't be trained."
        )
    given = graph.made_by(reader.input[0], "DequantizeLinear")
    if given is None:
        raise StageError(f"the input of {reader.name!r} isn't quantized; it can't be trained.")
    return Bias(found, given.input[1], stored[reader.input[1]])
