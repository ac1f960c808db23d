"""Counts a model's parameters in its ONNX graph, INT8 graphs included."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import prod
from pathlib import Path

from onnx import NodeProto
from onnx import TensorProto as T

from compress.onnx_graph.files import load_graph
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attributes

# Inputs that hold scales, zero points or shapes, by operator.
NOT_WEIGHTS: dict[str, tuple[int, ...]] = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "MatMulInteger": (2, 3),
    "ConvInteger": (2, 3),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "QLinearAdd": (1, 2, 4, 5, 6, 7),
    "QLinearMul": (1, 2, 4, 5, 6, 7),
    "QLinearSigmoid": (1, 2, 3, 4),
    "QLinearLeakyRelu": (1, 2, 3, 4),
    "QLinearSoftmax": (1, 2, 3, 4),
    "QLinearAveragePool": (1, 2, 3, 4),
    "QLinearGlobalAveragePool": (1, 2, 3, 4),
    "Resize": (1, 2),
    "Upsample": (1,),
    "DynamicQuantizeLSTM": (8, 9, 10, 11),
    "DynamicQuantizeMatMul": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "QAttention": (3, 4, 6, 7),
    "MatMulNBits": (2, 3, 4),
    "GatherBlockQuantized": (2, 3),
}
# Inputs whose int32 constants are biases.
BIASES: dict[str, int] = {"DequantizeLinear": 0, "QLinearConv": 8, "QGemm": 6}
# What is added to a weight's name for the copies of it: by ONNX Runtime's quantizer, by rounding in
# blocks, by storage in few bits, and by the export.
COPY_SUFFIXES = ("_quantized", "_Transposed", "_Q4", "_Q8", "_stored", ".transposed")


def count_params(onnx: Path) -> int:
    """Number of elements of a model's weights. It is the same for a float graph and its INT8 form.

    Constants count if some node uses them and they have more than one element: floats, quantized
    weights of 4, 8 or 16 bits, and int32 biases. Each counts once, however often it is used. The
    copies of a shared weight (transposed, float and INT8, biases at several scales) count once too.
    Scales, zero points, shapes and a block's padding don't count. ONNX doesn't mark trained
    constants, so a float table that isn't trained counts too. The exporter merges equal weights.

    Raises
    ------
    StageError : the file can't be read.
    """
    found: set[tuple[str, int]] = set()
    biases: set[tuple[str, int]] = set()
    for name, is_bias, count in _weights(load_graph(onnx)):
        for suffix in COPY_SUFFIXES:
            name = name.removesuffix(suffix)
        found.add((name, count))
        if is_bias:
            biases.add((name, count))
    return sum(count for _, count in found - set(_numbered(found, biases)))


def _numbered(
    found: set[tuple[str, int]], biases: set[tuple[str, int]]
) -> Iterator[tuple[str, int]]:
    """The copies `b0`, `b1`, … that a shared bias `b` gets, one for each further scale."""
    for name, count in found:
        index = 0
        while (copy := (f"{name}{index}", count)) in biases:
            yield copy
            index += 1


def _weights(graph: Graph) -> Iterator[tuple[str, bool, int]]:
    """(name, whether it is an int32 bias, number of elements) of each weight."""
    floats = {T.FLOAT, T.FLOAT16, T.BFLOAT16, T.DOUBLE}
    quantized = {T.INT8, T.UINT8, T.INT4, T.UINT4, T.INT16, T.UINT16}
    quantized |= {T.FLOAT8E4M3FN, T.FLOAT8E4M3FNUZ, T.FLOAT8E5M2, T.FLOAT8E5M2FNUZ}
    uses = _uses(graph)
    packed = _packed(graph)
    for name, constant in graph.constants.items():
        count = packed.get(name, prod(constant.shape))
        is_bias = constant.type == T.INT32 and "bias" in uses[name]
        is_weight = constant.type in floats | quantized and "weight" in uses[name]
        if count > 1 and (is_bias or is_weight):
            yield name, is_bias, count


def _uses(graph: Graph) -> defaultdict[str, set[str]]:
    """The roles of each tensor in the nodes that take it: "weight", "bias", both, or none."""
    uses: defaultdict[str, set[str]] = defaultdict(set)
    for node in graph.every_node:
        if node.op_type == "Mul" and _multiplies_scales(graph, node):
            continue
        if node.op_type == "Mul" and _is_stored(graph, node.input[0]):
            continue
        if node.op_type == "Gather" and _gathers_scales(graph, node):
            continue
        for index, name in enumerate(node.input):
            if index in _not_weights(node):
                continue
            uses[name].add("weight")
            if BIASES.get(node.op_type) == index:
                uses[name].add("bias")
    for each in graph.levels:
        for value in each.output:
            uses[value.name].add("weight")
    return uses


def _multiplies_scales(graph: Graph, node: NodeProto) -> bool:
    """Whether `node` multiplies an input's scale by the weight's (a vector, per channel).

    `quantize_dynamic` does. The input's is a constant where it is an 8-bit table's rows.
    """
    return any(_is_dynamic_scale(graph, name) for name in node.input) or any(
        reader.op_type == "Mul" and any(_is_integers(graph, name) for name in reader.input)
        for reader in graph.readers(node.output[0])
    )


def _is_integers(graph: Graph, name: str) -> bool:
    """Whether a tensor is a product of integers as floats, not scaled yet."""
    cast = graph.made_by(name, "Cast")
    return (
        cast is not None
        and graph.made_by(cast.input[0], "MatMulInteger", "ConvInteger") is not None
    )


def _is_dynamic_scale(graph: Graph, name: str) -> bool:
    maker = graph.made_by(name, "DynamicQuantizeLinear")
    return maker is not None and maker.output[1] == name


def _is_stored(graph: Graph, name: str) -> bool:
    """Whether a tensor is a weight of 8-bit integers as floats, which are multiplied by scales."""
    cast = graph.made_by(name, "Cast")
    held = None if cast is None else graph.constants.get(cast.input[0])
    return held is not None and held.type == T.INT8


def _gathers_scales(graph: Graph, node: NodeProto) -> bool:
    """Whether `node` reads the scales of an 8-bit table's rows, one scale for each row."""
    unsqueezed = graph.only_reader(node.output[0])
    if unsqueezed is None or unsqueezed.op_type != "Unsqueeze":
        return False
    scaled = graph.only_reader(unsqueezed.output[0])
    return scaled is not None and scaled.op_type == "Mul" and _is_rows(graph, scaled.input[0])


def _is_rows(graph: Graph, name: str) -> bool:
    """Whether a tensor is rows of a table of 8-bit integers, as floats."""
    centred = graph.made_by(name, "Sub")
    cast = graph.made_by(name if centred is None else centred.input[0], "Cast")
    rows = None if cast is None else graph.made_by(cast.input[0], "Gather")
    table = None if rows is None else graph.constants.get(rows.input[0])
    return table is not None and table.type in {T.INT8, T.UINT8}


def _packed(graph: Graph) -> dict[str, int]:
    """Number of weights in tensors whose bytes hold several weights, and padding."""
    found: dict[str, int] = {}
    for node in graph.every_node:
        given = attributes(node)
        if node.op_type == "MatMulNBits":
            found[node.input[1]] = given["K"] * given["N"]
        elif node.op_type == "GatherBlockQuantized" and node.input[0] in graph.constants:
            data = graph.constants[node.input[0]]
            if data.type == T.UINT8:
                found[node.input[0]] = prod(data.shape) * 8 // given.get("bits", 4)
    return found


def _not_weights(node: NodeProto) -> tuple[int, ...]:
    if node.op_type == "QLinearConcat":  # scale, zero point, then (input, scale, zero point) each
        return tuple(i for i in range(len(node.input)) if i < 2 or i % 3 != 2)
    return NOT_WEIGHTS.get(node.op_type, ())
