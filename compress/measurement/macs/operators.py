"""Counts the multiply-accumulates of operators of ONNX and ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from compress.measurement.macs.formulas import (
    Shape,
    attention,
    convolution,
    einsum,
    matmul_macs,
    recurrence,
    transposed_convolution,
)

if TYPE_CHECKING:
    from onnx import NodeProto

Attributes = Mapping[str, Any]
_MICROSOFT = "com.microsoft"


class Output(int):
    """The index of an output, as opposed to that of an input."""


@dataclass(frozen=True)
class Operator:
    """The rule that counts an operator's multiply-accumulates.

    Attributes
    ----------
    operands : indices of the inputs (or `Output`) whose shapes decide. Trailing inputs that are
        absent, and empty ones, are left out.
    count : a function from the node's attributes and those shapes to multiply-accumulates.
    """

    operands: tuple[int, ...]
    count: Callable[[Attributes, list[Shape]], int]

    def names(self, node: NodeProto) -> list[str]:
        """The tensors whose shapes decide."""
        every = [
            (node.output if isinstance(number, Output) else node.input)[number : number + 1]
            for number in self.operands
        ]
        return [name for names in every for name in names if name]


def operator_of(node: NodeProto) -> Operator | None:
    """The rule for a node; None if it isn't counted."""
    return OPERATORS.get(("" if node.domain == "ai.onnx" else node.domain, node.op_type))


def _convolution(_: Attributes, shapes: list[Shape]) -> int:
    output, weight = shapes
    return convolution(output, weight)


def _transposed_convolution(_: Attributes, shapes: list[Shape]) -> int:
    values, weight = shapes
    return transposed_convolution(values, weight)


def _matmul(_: Attributes, shapes: list[Shape]) -> int:
    """Output (…, M, N), left operand (…, M, K)."""
    output, left = shapes
    return matmul_macs(output, left[-1])


def _gemm(given: Attributes, shapes: list[Shape]) -> int:
    """Output (M, N), left operand (M, K), or (K, M) where `transA` is set."""
    output, left = shapes
    return matmul_macs(output, left[0 if given.get("transA") else 1])


def _fused_matmul(given: Attributes, shapes: list[Shape]) -> int:
    """Output (…, M, N), left operand (…, M, K), or (…, K, M) where `transA` is set."""
    output, left = shapes
    if not given.get("transA"):
        return matmul_macs(output, left[-1])
    return matmul_macs(output, left[0 if given.get("transBatchA") else -2])


def _einsum(given: Attributes, shapes: list[Shape]) -> int:
    equation = given["equation"]
    return einsum(equation.decode() if isinstance(equation, bytes) else equation, *shapes)


def _attention(_: Attributes, shapes: list[Shape]) -> int:
    """Output and query (…, S, D) or (…, S, heads * D), key (…, S_k, D), past key."""
    output, query, key, *past = shapes
    return attention(query, output, key[-2] + sum(shape[-2] for shape in past))


def _packed_attention(_: Attributes, shapes: list[Shape]) -> int:
    """Output (N, S, D), input (N, S, C), weight (C, queries + keys + values), past (2, …, P, D)."""
    output, values, weight, *past = shapes
    queries = (weight[1] - output[2]) // 2  # as wide as the keys
    length = values[1] + sum(shape[-2] for shape in past)
    projections = matmul_macs((*values[:2], weight[1]), values[2])
    return projections + attention((*values[:2], queries), output, length)


def _multi_head_attention(_: Attributes, shapes: list[Shape]) -> int:
    """Output (N, S, D), query (N, S, D) or packed (N, S, heads, 3, d), key, past key.

    A key is (N, S_k, D), (N, heads, S_k, d), or packed with the values (N, S_k, heads, 2, d).
    """
    output, query, *rest = shapes
    if len(query) == 5:
        return attention(output, output, query[1] + sum(shape[-2] for shape in rest))
    key, *past = rest
    length = key[2] if len(key) == 4 else key[1]
    return attention(query, output, length + sum(shape[-2] for shape in past))


def _group_query_attention(_: Attributes, shapes: list[Shape]) -> int:
    """Output (N, S, heads * D), and the key (N, kv heads, S_k, D) with what was past."""
    output, key = shapes
    return attention(output, output, key[2])


def _recurrence(_: Attributes, shapes: list[Shape]) -> int:
    """Input (S, N, C) or (N, S, C), then weights of all directions."""
    values, *weights = shapes
    return recurrence(prod(values[:2]), *weights)


_OUTPUT = Output(0)
_CONVOLUTION = Operator((_OUTPUT, 1), _convolution)
_MATMUL = Operator((_OUTPUT, 0), _matmul)
_GEMM = Operator((_OUTPUT, 0), _gemm)
_FUSED_MATMUL = Operator((_OUTPUT, 0), _fused_matmul)
_RECURRENCE = Operator((0, 1, 2), _recurrence)

OPERATORS: dict[tuple[str, str], Operator] = {
    ("", "Conv"): _CONVOLUTION,
    ("", "ConvInteger"): _CONVOLUTION,
    ("", "QLinearConv"): Operator((_OUTPUT, 3), _convolution),
    ("", "ConvTranspose"): Operator((0, 1), _transposed_convolution),
    ("", "MatMul"): _MATMUL,
    ("", "MatMulInteger"): _MATMUL,
    ("", "QLinearMatMul"): _MATMUL,
    ("", "Gemm"): _GEMM,
    ("", "Einsum"): Operator(tuple(range(16)), _einsum),
    ("", "LSTM"): _RECURRENCE,
    ("", "GRU"): _RECURRENCE,
    ("", "RNN"): _RECURRENCE,
    ("", "Attention"): Operator((_OUTPUT, 0, 1, 4), _attention),
    (_MICROSOFT, "QGemm"): _GEMM,
    (_MICROSOFT, "MatMulNBits"): _MATMUL,
    (_MICROSOFT, "MatMulBnb4"): _MATMUL,
    (_MICROSOFT, "DynamicQuantizeMatMul"): _MATMUL,
    (_MICROSOFT, "MatMulIntegerToFloat"): _MATMUL,
    (_MICROSOFT, "MatMulInteger16"): _MATMUL,
    (_MICROSOFT, "FusedMatMul"): _FUSED_MATMUL,
    (_MICROSOFT, "TransposeMatMul"): _FUSED_MATMUL,
    (_MICROSOFT, "FusedGemm"): _GEMM,
    (_MICROSOFT, "FusedConv"): _CONVOLUTION,
    (_MICROSOFT, "NhwcFusedConv"): _CONVOLUTION,
    (_MICROSOFT, "QLinearConv"): Operator((_OUTPUT, 3), _convolution),
    (_MICROSOFT, "DynamicQuantizeLSTM"): _RECURRENCE,
    (_MICROSOFT, "Attention"): Operator((_OUTPUT, 0, 1, 4), _packed_attention),
    (_MICROSOFT, "QAttention"): Operator((_OUTPUT, 0, 1, 8), _packed_attention),
    (_MICROSOFT, "MultiHeadAttention"): Operator((_OUTPUT, 0, 1, 6), _multi_head_attention),
    (_MICROSOFT, "GroupQueryAttention"): Operator((_OUTPUT, Output(1)), _group_query_attention),
}
"""The rule of each operator, by its domain and name."""
