"""Finds 8-bit products in an ONNX file that can saturate on a CPU.

x86 CPUs without VNNI multiply unsigned by signed bytes with VPMADDUBSW, which adds two products in
16 bits and clips the sum: 255 · 127 · 2 is twice what fits. ONNX Runtime uses it for U8S8 (unsigned
activations, signed weights), and for S8S8 in QDQ form, which it turns into U8S8 on x86. Weights of
7 bits can't reach the limit; U8U8 goes through 16-bit numbers, exact and slower. See "Data type
selection" in ONNX Runtime's quantization guide, and its option `session.x64quantprecision`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compress.measurement.cpu import SATURATING, TargetCpu
from compress.measurement.graph import constants, graphs, load_graph, nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from onnx import GraphProto, NodeProto, TensorProto

    from compress.measurement.graph import Constant

NARROW = 64
"""Weights within ±64 can't saturate: 255 · 64 · 2 < 2¹⁵. It is ONNX Runtime's own limit."""

_WEIGHT: Mapping[str, tuple[int, ...]] = {
    "MatMulInteger": (1,),
    "ConvInteger": (1,),
    "QLinearMatMul": (3,),
    "QLinearConv": (3,),
    "QGemm": (3,),
    "QAttention": (1,),
    "MatMulIntegerToFloat": (1,),
    "DynamicQuantizeMatMul": (1,),
    "DynamicQuantizeLSTM": (1, 2),
}
"""Which inputs of integer operators are weights."""
_ZERO_POINT: Mapping[str, int] = {"QLinearMatMul": 2, "QLinearConv": 2, "QGemm": 2}
"""The activations' zero point: signed ones are multiplied without VPMADDUBSW."""
_FLOAT_PRODUCTS = ("MatMul", "Gemm", "Conv")
"""What ONNX Runtime makes integer operators of, where both operands are dequantized."""
_PASSING = ("Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""What ONNX Runtime moves a dequantization behind."""


def can_saturate(file: Path, cpu: TargetCpu) -> str | None:
    """Return whether products inside an ONNX file may be clipped on a CPU.

    What counts are the weights as stored, not what the file says of itself: signed 8-bit weights
    beyond 7 bits that are multiplied with quantized activations.

    Returns
    -------
    A sentence, or None where all products are exact (or none is in 8 bits).

    Raises
    ------
    StageError : the file can't be read.
    """
    if cpu not in SATURATING:
        return None
    graph = load_graph(file).graph
    stored = dict(_int8_tensors(graph))
    used: set[str] = set()
    for names in _products(graph):
        used.update(name for name in names if name in stored)
    wide = sorted(name for name in used if _is_wide(stored[name], file))
    if not wide:
        return None
    return (
        f"{len(wide)} of {len(used)} quantized weights (such as {wide[0]!r}) use more than 7 bits: "
        f"their products can saturate on {cpu}, and answers then differ from those measured"
    )


def _products(graph: GraphProto) -> Iterator[tuple[str, ...]]:
    """The names of the tensors that each product of unsigned activations takes its weights from."""
    known = constants(graph)
    makers = {name: node for node in nodes(graph) for name in node.output}
    for node in nodes(graph):
        if node.op_type in _WEIGHT:
            if not _is_signed(node, known):
                yield tuple(node.input[index] for index in _WEIGHT[node.op_type])
        elif node.op_type in _FLOAT_PRODUCTS:
            sources = [_dequantized(name, makers) for name in node.input[:2]]
            names = tuple(name for name in sources if name is not None)
            if len(names) == len(sources):
                yield names


def _dequantized(name: str, makers: Mapping[str, NodeProto]) -> str | None:
    """The 8-bit tensor that a float one is the dequantization of, reshaped perhaps."""
    maker = makers.get(name)
    while maker is not None and maker.op_type in _PASSING:
        maker = makers.get(maker.input[0])
    found = maker is not None and maker.op_type == "DequantizeLinear"
    return str(maker.input[0]) if maker is not None and found else None


def _is_signed(node: NodeProto, known: Mapping[str, Constant]) -> bool:
    from onnx import TensorProto

    index = _ZERO_POINT.get(node.op_type)
    if index is None:
        return False
    zero_point = known.get(node.input[index])
    return zero_point is not None and zero_point.type == TensorProto.INT8


def _int8_tensors(graph: GraphProto) -> Iterator[tuple[str, TensorProto]]:
    """Signed 8-bit weights by name: initializers, and the tensors of `Constant` nodes."""
    from onnx import TensorProto

    for each in graphs(graph):
        for tensor in each.initializer:
            if tensor.data_type == TensorProto.INT8:
                yield tensor.name, tensor
        for node in each.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.t.data_type == TensorProto.INT8:
                        yield node.output[0], attribute.t


def _is_wide(tensor: TensorProto, file: Path) -> bool:
    import numpy as np
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor, base_dir=str(file.parent)).astype(np.int16)
    return bool(values.size and np.abs(values).max() > NARROW)
