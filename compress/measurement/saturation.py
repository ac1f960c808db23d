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

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from compress.measurement.cpu import SATURATING, TargetCpu
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.graph import Graph

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NARROW = 64
"""Largest weight that can't saturate: 255 · 64 · 2 < 2¹⁵. It is ONNX Runtime's own limit."""

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
"""Indices of the inputs that are weights, by integer operator."""
_ZERO_POINT: Mapping[str, int] = {"QLinearMatMul": 2, "QLinearConv": 2, "QGemm": 2}
"""Index of the activations' zero point. Signed activations are multiplied without VPMADDUBSW."""
_FLOAT_PRODUCTS = ("MatMul", "Gemm", "Conv")
"""Operators that ONNX Runtime turns into integer ones if both operands are dequantized."""
_PASSING = ("Flatten", "Identity", "MaxPool", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
"""Operators that ONNX Runtime moves before a dequantization."""


def can_saturate(file: Path, cpu: TargetCpu) -> str | None:
    """A sentence if products in an ONNX file may be clipped on a CPU; else None.

    The stored weights decide, and not the file's metadata: products can be clipped if signed 8-bit
    weights beyond 7 bits are multiplied with quantized activations.

    Raises
    ------
    StageError : the file can't be read.
    """
    if cpu not in SATURATING:
        return None
    graph = load_graph(file)
    stored = {
        name: constant.tensor
        for name, constant in graph.constants.items()
        if constant.type == TensorProto.INT8 and constant.tensor is not None
    }
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


def _products(graph: Graph) -> Iterator[tuple[str, ...]]:
    """The names of the tensors that each product of unsigned activations takes its weights from."""
    for node in graph.every_node:
        if node.op_type in _WEIGHT:
            if not _is_signed(graph, node):
                yield tuple(_passed(graph, node.input[index]) for index in _WEIGHT[node.op_type])
        elif node.op_type in _FLOAT_PRODUCTS:
            sources = [_dequantized(graph, name) for name in node.input[:2]]
            names = tuple(name for name in sources if name is not None)
            if len(names) == len(sources):
                yield names


def _dequantized(graph: Graph, name: str) -> str | None:
    """The 8-bit tensor that a float one is the dequantization of, reshaped perhaps."""
    maker = graph.made_by(_passed(graph, name), "DequantizeLinear")
    return None if maker is None else str(maker.input[0])


def _passed(graph: Graph, name: str) -> str:
    """The tensor that has the values of another one, in another order or shape perhaps."""
    while (passing := graph.made_by(name, *_PASSING)) is not None:
        name = passing.input[0]
    return name


def _is_signed(graph: Graph, node: NodeProto) -> bool:
    index = _ZERO_POINT.get(node.op_type)
    if index is None:
        return False
    zero_point = graph.constants.get(node.input[index])
    return zero_point is not None and zero_point.type == TensorProto.INT8


def _is_wide(tensor: TensorProto, file: Path) -> bool:
    values = numpy_helper.to_array(tensor, base_dir=str(file.parent)).astype(np.int16)
    return bool(values.size and np.abs(values).max() > NARROW)
