"""Fixed activation scales in a dynamically quantized graph, with float results.

Dynamic quantization computes the scale of an activation in each call, over the whole batch. A
sample's answer thus depends on the other samples and on padding. Static quantization in QDQ form
fixes the scales, but onnxruntime then adds biases by separate operators. Here the integer matmul,
its scales and its bias are one operator, `com.microsoft.MatMulIntegerToFloat`, with calibrated
scales. onnxruntime fuses a dynamic graph into the same operator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import NodeProto, helper

from compress.errors import StageError
from compress.onnx_graph.files import load_model
from compress.onnx_graph.graph import Graph
from compress.quantization.calibration.ranges import Range
from compress.quantization.grid import activation_grid
from compress.quantization.integers import Integers
from compress.quantization.write import write

MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class _Matmul:
    """The nodes of one dynamic matmul, as `quantize_dynamic` writes them."""

    activation: str
    weight: str
    weight_zero_point: str
    weight_scale: str
    bias: str
    output: str
    name: str
    nodes: tuple[NodeProto, ...]


def fix_scales(source: Path, *, path: Path, ranges: Mapping[str, Range]) -> Path:
    """Write a dynamically quantized model with the given ranges of its activations.

    Activations are unsigned, as in the dynamic graph.

    Parameters
    ----------
    source : a file that `quantize_dynamic` wrote.
    path : the file to write; it has an operator that only onnxruntime defines.
    ranges : least and largest value of each tensor that a quantized matmul reads, by the name that
        it has in the float graph.

    Raises
    ------
    StageError : the source has no dynamic matmuls, or a range is missing.
    """
    model = load_model(source)
    graph = Graph(model)
    found = [p for node in graph.nodes if (p := _matmul(graph, node)) is not None]
    if not found:
        raise StageError(
            f"{source.name} has no dynamically quantized matmuls; expected what quantize_dynamic "
            "writes."
        )
    activations = dict.fromkeys(matmul.activation for matmul in found)
    missing = [name for name in activations if name not in ranges]
    if missing:
        raise StageError(f"no range is known for {missing[0]!r}; expected one for each activation.")
    added = {name: _quantize(graph, name, ranges[name]) for name in activations}
    fused = {matmul.nodes[0].output[0]: _fused(matmul, added) for matmul in found}
    gone = {id(node) for matmul in found for node in matmul.nodes}
    # The operator replaces the last of its nodes, by which all of its inputs are computed.
    last = {id(matmul.nodes[-1]): fused[matmul.nodes[0].output[0]] for matmul in found}
    _replace(graph, gone=gone, last=last, quantized=added)
    if all(opset.domain != MICROSOFT for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return write(model, path=path, source=source)


def _matmul(graph: Graph, node: NodeProto) -> _Matmul | None:
    """A dynamic matmul: MatMulInteger, Cast, Mul by both scales, and Add if there is a bias."""
    if node.op_type != "MatMulInteger" or len(node.input) != 4:
        return None
    dynamic = graph.made_by(node.input[0], "DynamicQuantizeLinear")
    if dynamic is None:
        return None
    cast = _next(graph, node.output[0], "Cast")
    scaled = None if cast is None else _next(graph, cast.output[0], "Mul")
    if cast is None or scaled is None:
        return None
    factor = next(name for name in scaled.input if name != cast.output[0])
    scales = graph.made_by(factor, "Mul")
    if scales is None or dynamic.output[1] not in scales.input:
        return None
    weight_scale = next(name for name in scales.input if name != dynamic.output[1])
    if {node.input[1], node.input[3], weight_scale} - graph.initializers.keys():
        return None
    add = _next(graph, scaled.output[0], "Add")
    bias = next((n for n in add.input if n in graph.initializers), "") if add else ""
    width = graph.initializers[node.input[1]].dims[-1]
    whole = bool(bias) and list(graph.initializers[bias].dims) == [width]
    ending = [add] if whole and add is not None else []
    return _Matmul(
        activation=dynamic.input[0],
        weight=node.input[1],
        weight_zero_point=node.input[3],
        weight_scale=weight_scale,
        bias=bias if whole else "",
        output=(ending or [scaled])[-1].output[0],
        name=node.name,
        nodes=(node, cast, scaled, *ending),
    )


def _quantize(graph: Graph, name: str, bounds: Range) -> NodeProto:
    scale, zero_point = activation_grid(bounds, integers=Integers())
    for suffix, value in (
        ("fixed_scale", np.float32(scale)),
        ("fixed_zero_point", np.uint8(zero_point)),
    ):
        graph.add_initializer(f"{name}_{suffix}", np.asarray(value))
    inputs = [name, f"{name}_fixed_scale", f"{name}_fixed_zero_point"]
    return helper.make_node("QuantizeLinear", inputs, [f"{name}_fixed"], name=f"{name}_fixed")


def _fused(matmul: _Matmul, quantized: Mapping[str, NodeProto]) -> NodeProto:
    node = quantized[matmul.activation]
    inputs = [
        node.output[0],
        matmul.weight,
        node.input[1],
        matmul.weight_scale,
        node.input[2],
        matmul.weight_zero_point,
        *([matmul.bias] if matmul.bias else []),
    ]
    return helper.make_node(
        "MatMulIntegerToFloat", inputs, [matmul.output], name=matmul.name, domain=MICROSOFT
    )


def _next(graph: Graph, name: str, kind: str) -> NodeProto | None:
    """The only reader of a tensor, if it is of this kind."""
    reader = graph.only_reader(name)
    return reader if reader is not None and reader.op_type == kind else None


def _replace(
    graph: Graph,
    *,
    gone: set[int],
    last: Mapping[int, NodeProto],
    quantized: Mapping[str, NodeProto],
) -> None:
    """Insert the new nodes, and remove those whose results are no longer read."""
    open_nodes = dict(quantized)
    order: list[NodeProto] = []
    for node in graph.nodes:
        if id(node) in last:
            order.append(last[id(node)])
        elif id(node) not in gone:
            if node.op_type == "DynamicQuantizeLinear" and node.input[0] in open_nodes:
                order.append(open_nodes.pop(node.input[0]))
            order.append(node)
    graph.set_nodes(order)
    graph.remove_unused()
