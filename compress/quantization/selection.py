"""Selects the nodes of a graph that are quantized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from typing import TYPE_CHECKING, Literal

from compress.errors import StageError, few, unknown

if TYPE_CHECKING:
    import onnx

    from compress.onnx_graph.graph import Graph

Method = Literal["dynamic", "dynamic_matmuls", "static", "weight_only"]
"""The rules for choosing nodes. "dynamic_matmuls" is "dynamic" without recurrent layers."""

# Index of the input that holds the weight. The other operators below have no weights.
WEIGHT_INPUT = {"Conv": 1, "ConvTranspose": 1, "MatMul": 1, "Gemm": 1, "Gather": 0, "LSTM": 1}
CONVOLUTIONS = ("Conv", "ConvTranspose")
RECURRENT = ("LSTM", "GRU", "RNN")
DYNAMIC_MATMULS = ("MatMul", "Gemm", "Gather")
# Of the recurrent layers onnxruntime has an 8-bit operator for the LSTM alone. It computes the
# scales of its states at each step.
DYNAMIC = (*DYNAMIC_MATMULS, "LSTM")
# In a CNN the activations stay in 8 bits from one convolution to the next, over the residual sums.
STATIC_CNN = (
    *CONVOLUTIONS, "Relu", "Clip", "Add", "MaxPool", "AveragePool", "GlobalAveragePool",
    "Flatten", "Reshape", "MatMul", "Gemm",
)  # fmt: skip
# In a transformer Add, Softmax, LayerNormalization and the attention matmuls lose accuracy and
# gain no time in 8 bits. Embeddings (Gather) cost nothing and are most of a small model's bytes.
# The outputs of matmuls stay in float. The nodes that read them aren't quantized, and some outputs
# are a hundred times as large as others: 8 bits would cost time and most of the accuracy.
MATMULS = ("MatMul", "Gemm")
STATIC_TRANSFORMER = (*CONVOLUTIONS, "MatMul", "Gemm", "Gather")
STATIC_KNOWN = (
    *STATIC_CNN,
    "Gather",
    "Mul",
    "Transpose",
    "Softmax",
    "LayerNormalization",
    "Concat",
)


SMALL_SHARE = 0.02
"""A CNN's matmuls stay in float if they have at most this share of the quantized weights."""


@dataclass(frozen=True)
class Selection:
    """The nodes that will be quantized, and those that stay in float.

    Attributes
    ----------
    method : the method that the nodes are selected for.
    operators : operator types.
    nodes : names of the nodes to quantize.
    excluded : names of the other nodes of these types.
    notes : the choices that were made.
    float_outputs : operator types whose outputs stay in float in static quantization.
    """

    method: Method
    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    excluded: tuple[str, ...]
    notes: tuple[str, ...]
    float_outputs: tuple[str, ...] = ()

    def without(self, nodes: Collection[str]) -> Selection:
        """The same selection, with these nodes in float."""
        return replace(
            self,
            nodes=tuple(node for node in self.nodes if node not in nodes),
            excluded=(*self.excluded, *(node for node in self.nodes if node in nodes)),
        )

    def only(self, nodes: Collection[str]) -> Selection:
        """The same selection, with all nodes other than these in float."""
        return self.without([node for node in self.nodes if node not in nodes])


def select(
    graph: Graph,
    *,
    method: Method,
    operators: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    per_channel: bool = True,
) -> Selection:
    """Choose the nodes to quantize.

    Parameters
    ----------
    method : see `Method`.
    operators : operator types to quantize; None for the method's default types.
    exclude : patterns (`*`, `?`) of the names of nodes or weights that stay in float.
    per_channel : use one scale for each output channel of a weight. Weights that have no single
        dimension of output channels then stay in float.

    Raises
    ------
    StageError : an operator is unknown, a pattern matches nothing, there is nothing to quantize, or
        a model of mostly convolutions would be quantized dynamically.
    """
    weights = _weights(graph)
    _require_fast(graph, method)
    cnn = convolution_share(graph) > 0.5
    types = _operators(method, operators, cnn=cnn)
    candidates = [node for node in graph.nodes if node.op_type in types]
    wanted = [node for node in candidates if _quantizable(node, weights)]
    kept_float = kept_in_float([(n.name, _weight(n) or n.name) for n in wanted], exclude)
    mixed = _without_channels(graph, wanted) if per_channel and method != "weight_only" else set()
    mixed -= kept_float
    small = set()
    if cnn and method == "static" and operators is None:
        small = _small_matmuls(graph, wanted) - kept_float - mixed
    nodes = tuple(node.name for node in wanted if node.name not in kept_float | mixed | small)
    if not any(node.name in nodes and node.op_type in WEIGHT_INPUT for node in wanted):
        raise StageError(
            f"nothing to quantize: no {', '.join(t for t in types if t in WEIGHT_INPUT)} with a "
            "constant float weight is left in the graph."
            f"{f' {_mixed_note(mixed)}' if mixed else ''}"
        )
    counted = Counter(node.op_type for node in wanted if node.name in nodes)
    notes = ["quantized: " + ", ".join(f"{n} {kind}" for kind, n in counted.items())]
    if kept_float:
        notes.append(f"kept in float by 'exclude': {', '.join(sorted(kept_float))}")
    if mixed:
        notes.append(_mixed_note(mixed))
    if small:
        notes.append(
            "kept in float, as 8 bits would save less than the changes of type around them cost "
            f"('operators' quantizes them): {', '.join(sorted(small))}"
        )
    notes += _recurrent_notes(graph, nodes, kept_float)
    notes += _einsum_notes(graph, weights)
    return Selection(
        method=method,
        operators=types,
        nodes=nodes,
        excluded=tuple(node.name for node in candidates if node.name not in nodes),
        notes=tuple(notes),
        float_outputs=() if cnn else MATMULS,
    )


def _weights(graph: Graph) -> dict[str, int]:
    """Sizes of the float initialisers by name."""
    return {name: prod(x.dims) for name, x in graph.initializers.items() if x.data_type == 1}


def _weight(node: onnx.NodeProto) -> str | None:
    index = WEIGHT_INPUT.get(node.op_type)
    return None if index is None or index >= len(node.input) else node.input[index]


def _quantizable(node: onnx.NodeProto, weights: Mapping[str, int]) -> bool:
    if node.op_type == "LSTM" and node.input[2] not in weights:
        return False
    return node.op_type not in WEIGHT_INPUT or _weight(node) in weights


def _recurrent_notes(
    graph: Graph, chosen: Collection[str], kept_float: Collection[str]
) -> list[str]:
    """A line for the recurrent layers of each kind that stay in float unasked."""
    left: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.op_type in RECURRENT and node.name not in {*chosen, *kept_float}:
            left.setdefault(node.op_type, []).append(_weight_name(node))
    return [
        f"kept in float: {kind} {few(list(dict.fromkeys(names)))}, as "
        + (
            "ONNX Runtime's 8-bit one takes its scales as it runs, and signed weights "
            "(method dynamic)"
            if kind == "LSTM"
            else f"ONNX Runtime has no 8-bit {kind}"
        )
        for kind, names in left.items()
    ]


def _einsum_notes(graph: Graph, weights: Mapping[str, int]) -> list[str]:
    """A line for the weights of einsums, of which there are none in 8 bits."""
    read = [
        name
        for node in graph.nodes
        if node.op_type == "Einsum"
        for name in node.input
        if name in weights and len(graph.initializers[name].dims) > 1
    ]
    names = list(dict.fromkeys(read))
    return [f"kept in float: Einsum {few(names)}, as ONNX Runtime has no 8-bit Einsum"] * bool(
        names
    )


def _weight_name(node: onnx.NodeProto) -> str:
    return node.input[1].rpartition(".")[0] or node.name


def _without_channels(graph: Graph, wanted: Sequence[onnx.NodeProto]) -> set[str]:
    """Names of nodes whose weight has no single dimension of output channels.

    The weight of a grouped transposed convolution is (C_in, C_out / groups, …). In a batch of
    matrices each matrix has its own output channels.
    """
    return {
        node.name
        for node in wanted
        if (node.op_type == "MatMul" and len(graph.initializers[node.input[1]].dims) > 2)
        or (
            node.op_type == "ConvTranspose"
            and any(each.name == "group" and each.i > 1 for each in node.attribute)
        )
    }


def _small_matmuls(graph: Graph, wanted: Sequence[onnx.NodeProto]) -> set[str]:
    """Names of a CNN's matmuls, if their weights are next to nothing beside the convolutions'."""
    weights = _weights(graph)
    sizes = {n.name: weights.get(_weight(n) or "", 0) for n in wanted if n.op_type in WEIGHT_INPUT}
    matmuls = {node.name for node in wanted if node.op_type in MATMULS}
    few_weights = sum(sizes[name] for name in matmuls) <= SMALL_SHARE * sum(sizes.values())
    return matmuls if few_weights else set()


def _mixed_note(nodes: Collection[str]) -> str:
    return (
        "kept in float, because their weights have no single dimension of output channels "
        f"('per_channel: false' quantizes them): {', '.join(sorted(nodes))}"
    )


def convolution_share(graph: Graph) -> float:
    """The share of convolutions in the weights of all convolutions and matmuls."""
    weights = _weights(graph)
    sizes = Counter[bool]()
    for node in graph.nodes:
        if node.op_type in WEIGHT_INPUT and node.op_type != "Gather":
            sizes[node.op_type in CONVOLUTIONS] += weights.get(_weight(node) or "", 0)
    return sizes[True] / max(1, sizes[True] + sizes[False])


def _require_fast(graph: Graph, method: Method) -> None:
    share = convolution_share(graph)
    if method in ("dynamic", "dynamic_matmuls") and share > 0.5:
        raise StageError(
            f"dynamic quantization would make this model slower: {share:.0%} of the weights belong "
            "to convolutions, and ONNX Runtime has no fast dynamic convolution. Use method static."
        )


def _operators(method: Method, given: Sequence[str] | None, *, cnn: bool) -> tuple[str, ...]:
    known = {"static": STATIC_KNOWN, "dynamic": DYNAMIC}.get(method, DYNAMIC_MATMULS)
    if given is None:
        if method != "static":
            return known
        return STATIC_CNN if cnn else STATIC_TRANSFORMER
    for name in given:
        if name not in known:
            words = method.partition("_")[0] if method.startswith("dynamic") else method
            raise StageError(unknown(f"operator for {words} quantization", name, known))
    return tuple(given)


def kept_in_float(names: Sequence[tuple[str, str]], patterns: Sequence[str]) -> set[str]:
    """Names of the nodes whose name, or whose weight's name, matches a pattern (`*`, `?`).

    Parameters
    ----------
    names : the node's name and the weight's name of each node.

    Raises
    ------
    StageError : a pattern matches nothing.
    """
    found: set[str] = set()
    for pattern in patterns:
        fits = {name for name, weight in names if _fits(pattern, name, weight)}
        if not fits:
            raise StageError(unknown("node or weight", pattern, {weight for _, weight in names}))
        found |= fits
    return found


def _fits(pattern: str, *names: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
