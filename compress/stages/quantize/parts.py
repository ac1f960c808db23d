"""Parts of a CNN that can be left in float for speed: mixed precision by speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.onnx_graph.files import load_graph
from compress.onnx_graph.nodes import attribute
from compress.quantization.selection import WEIGHT_INPUT

if TYPE_CHECKING:
    from compress.onnx_graph.graph import Graph
    from compress.stages.quantize.candidates import CandidateBuilder, CandidateSpec

_ACTIVATIONS = ("Relu", "Clip")


def float_parts(spec: CandidateSpec, builder: CandidateBuilder) -> dict[str, tuple[str, ...]]:
    """Return groups of a static spec's nodes that may be faster in float, by what they are.

    Depthwise convolutions have little to gain, as each weight is used for one channel alone, nor
    has the first convolution, whose inputs are few. Sums and poolings have no products; in 8 bits
    they save the changes of type around them.
    """
    graph = load_graph(spec.variant.path)
    chosen = set(builder.selection(spec).nodes)
    depthwise = [
        node.name
        for node in graph.nodes
        if node.name in chosen and node.op_type == "Conv" and attribute(node, "group", 1) > 1
    ]
    products = _with_activations(
        graph, [n.name for n in graph.nodes if n.name in chosen and n.op_type in WEIGHT_INPUT]
    )
    first = [n.name for n in graph.nodes if n.name in chosen and n.op_type == "Conv"][:1]
    found = {
        "depthwise convolutions": _with_activations(graph, depthwise),
        "what has no weights": [name for name in chosen if name not in products],
        "the first convolution": _with_activations(graph, first),
    }
    return {
        what: tuple(sorted(nodes)) for what, nodes in found.items() if nodes and chosen - {*nodes}
    }


def _with_activations(graph: Graph, names: list[str]) -> list[str]:
    """The nodes and the activation functions after them, which would be alone in 8 bits."""
    after = [
        reader.name
        for name in names
        if (node := graph.named(name)) is not None
        for reader in graph.readers(node.output[0])
        if reader.op_type in _ACTIVATIONS
    ]
    return [*names, *after]
