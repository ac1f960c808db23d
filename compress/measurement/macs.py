"""Counts the multiply-accumulates of one sample, from shapes seen in a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compress.errors import StageError
from compress.measurement.graph import Shape, constants, load_graph, nodes
from compress.measurement.session import feed, runtime_errors, unoptimized_session

if TYPE_CHECKING:
    import numpy as np
    from onnx import GraphProto, ModelProto, NodeProto

OUTPUT = -1  # stands for a node's first output where an operand's index is expected
SAME_SHAPE = frozenset({"DequantizeLinear", "QuantizeLinear", "Identity", "Cast"})
PRODUCT_NAME = re.compile(r"MatMul|Gemm|Conv(?!ert)|Attention|LSTM|GRU|RNN|Einsum|MoE")


class Macs(NamedTuple):
    """Multiply-accumulates of one sample, and notes on what they leave out."""

    total: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Product:
    """How an operator's products are counted.

    Attributes
    ----------
    operands : the inputs (or `OUTPUT`) whose shapes decide.
    count : the node and those shapes to multiply-accumulates.
    """

    operands: tuple[int, ...]
    count: Callable[[NodeProto, list[Shape]], int]


def count_macs(onnx: Path, inputs: Mapping[str, np.ndarray]) -> Macs:
    """Multiply-accumulates of convolutions and matrix products for one sample.

    The graph runs once, unoptimised, on the first row of the inputs, so shapes are exact;
    attention's two products count, biases, norms and element-wise work don't. A float graph and
    its INT8 form give the same number.

    Parameters
    ----------
    inputs : arrays (N, …) by input name; text at the length that is to be counted.

    Returns
    -------
    The number, and notes that name the operators which multiply but aren't counted.

    Raises
    ------
    DataError : one of the model's inputs is missing.
    StageError : the file can't be read or run.
    """
    model = load_graph(onnx)
    graph = model.graph
    products = [node for node in graph.node if _key(node) in PRODUCTS]
    shapes = _shapes(model, products, inputs, onnx)
    total = 0
    for node in products:
        product = PRODUCTS[_key(node)]
        total += product.count(node, [shapes[name] for name in _operands(node) if name])
    return Macs(total, tuple(_uncounted(graph)))


def _shapes(
    model: ModelProto, products: list[NodeProto], inputs: Mapping[str, np.ndarray], onnx: Path
) -> dict[str, Shape]:
    """Shapes of all tensors that the products need: of constants by reading, others by a run."""
    from onnx import ValueInfoProto
    from onnxruntime import OrtValue

    static = _static_shapes(model.graph)
    names = {name for node in products for name in _operands(node) if name}
    shapes = {name: static[name] for name in names if name in static}
    exposed = {value.name for value in model.graph.output}
    given = {value.name for value in model.graph.input}
    unseen = sorted(names - shapes.keys() - given)
    model.graph.output.extend(ValueInfoProto(name=n) for n in unseen if n not in exposed)
    session = unoptimized_session(model, path=onnx)
    arrays = {name: array[:1] for name, array in feed(session, inputs).items()}
    shapes.update({name: array.shape for name, array in arrays.items()})
    values = {name: OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
    if not unseen:
        return shapes
    try:
        results = session.run_with_ort_values(unseen, values)
    except runtime_errors() as error:
        raise StageError(f"ONNX Runtime can't run {onnx} on one sample: {error}") from error
    seen = {name: tuple(v.shape()) for name, v in zip(unseen, results, strict=True)}
    return shapes | seen


def _static_shapes(graph: GraphProto) -> dict[str, Shape]:
    """Shapes of constants, and of what is only dequantized or cast from them."""
    shapes = {name: constant.shape for name, constant in constants(graph).items()}
    for node in graph.node:  # in topological order
        if node.op_type in SAME_SHAPE and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return shapes


def _uncounted(graph: GraphProto) -> Iterator[str]:
    top = {id(node) for node in graph.node}
    missed = Counter(
        node.op_type if id(node) in top else f"{node.op_type} in an inner graph"
        for node in nodes(graph)
        if PRODUCT_NAME.search(node.op_type) and not (_key(node) in PRODUCTS and id(node) in top)
    )
    if missed:
        named = ", ".join(f"{count} {name}" for name, count in sorted(missed.items()))
        yield f"macs leave out operators that can't be counted: {named}."


def _key(node: NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


def _operands(node: NodeProto) -> list[str]:
    indices = PRODUCTS[_key(node)].operands
    return [
        node.output[0] if i == OUTPUT else node.input[i] for i in indices if i < len(node.input)
    ]


def _conv(node: NodeProto, shapes: list[Shape]) -> int:
    """Output (N, C, …), weight (C, C_in / groups, …)."""
    output, weight = shapes
    return prod(output) * prod(weight[1:])


def _conv_transpose(node: NodeProto, shapes: list[Shape]) -> int:
    """Input (N, C_in, …), weight (C_in, C / groups, …)."""
    values, weight = shapes
    return prod(values) * prod(weight[1:])


def _matmul(node: NodeProto, shapes: list[Shape]) -> int:
    """Output (…, M, N), left operand (…, M, K)."""
    output, left = shapes
    return prod(output) * left[-1]


def _gemm(node: NodeProto, shapes: list[Shape]) -> int:
    """Output (M, N), left operand (M, K), or (K, M) where `transA` is set."""
    output, left = shapes
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return prod(output) * left[0 if transposed else 1]


def _attention(node: NodeProto, shapes: list[Shape]) -> int:
    """Output and query (…, S, D) or (…, S, heads * D), key (…, S_k, D), past key."""
    output, query, key, *past = shapes
    length = key[-2] + sum(shape[-2] for shape in past)
    return (prod(query) + prod(output)) * length


def _fused_matmul(node: NodeProto, shapes: list[Shape]) -> int:
    """Output (…, M, N), left operand (…, M, K), or (…, K, M) where `transA` is set."""
    output, left = shapes
    batched, transposed = (
        any(a.name == name and a.i for a in node.attribute) for name in ("transBatchA", "transA")
    )
    return prod(output) * left[(0 if batched else -2) if transposed else -1]


def _packed_attention(node: NodeProto, shapes: list[Shape]) -> int:
    """Output (N, S, D), input (N, S, C), weight (C, queries + keys + values), past (2, …, P, D)."""
    output, values, weight, *past = shapes
    length = values[1] + sum(shape[-2] for shape in past)
    queries = (weight[1] - output[2]) // 2  # as wide as the keys
    attention = prod(values[:2]) * (queries + output[2]) * length
    return prod(values) * weight[1] + attention


def _multi_head_attention(node: NodeProto, shapes: list[Shape]) -> int:
    """Output (N, S, D), query (N, S, D), key (N, S_k, D) or (N, heads, S_k, d), past key."""
    output, query, key, *past = shapes
    length = (key[2] if len(key) == 4 else key[1]) + sum(shape[-2] for shape in past)
    return (prod(query) + prod(output)) * length


PRODUCTS: dict[tuple[str, str], Product] = {
    ("", "Conv"): Product((OUTPUT, 1), _conv),
    ("", "ConvInteger"): Product((OUTPUT, 1), _conv),
    ("", "QLinearConv"): Product((OUTPUT, 3), _conv),
    ("", "ConvTranspose"): Product((0, 1), _conv_transpose),
    ("", "MatMul"): Product((OUTPUT, 0), _matmul),
    ("", "MatMulInteger"): Product((OUTPUT, 0), _matmul),
    ("", "QLinearMatMul"): Product((OUTPUT, 0), _matmul),
    ("", "Gemm"): Product((OUTPUT, 0), _gemm),
    ("com.microsoft", "QGemm"): Product((OUTPUT, 0), _gemm),
    ("com.microsoft", "MatMulNBits"): Product((OUTPUT, 0), _matmul),
    ("", "Attention"): Product((OUTPUT, 0, 1, 4), _attention),
    ("com.microsoft", "DynamicQuantizeMatMul"): Product((OUTPUT, 0), _matmul),
    ("com.microsoft", "MatMulIntegerToFloat"): Product((OUTPUT, 0), _matmul),
    ("com.microsoft", "FusedMatMul"): Product((OUTPUT, 0), _fused_matmul),
    ("com.microsoft", "FusedGemm"): Product((OUTPUT, 0), _gemm),
    ("com.microsoft", "FusedConv"): Product((OUTPUT, 1), _conv),
    ("com.microsoft", "Attention"): Product((OUTPUT, 0, 1, 4), _packed_attention),
    ("com.microsoft", "QAttention"): Product((OUTPUT, 0, 1, 8), _packed_attention),
    ("com.microsoft", "MultiHeadAttention"): Product((OUTPUT, 0, 1, 6), _multi_head_attention),
}
