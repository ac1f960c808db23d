"""Means over height and width as poolings, for which ONNX Runtime has kernels of images."""

from __future__ import annotations

from onnx import NodeProto, helper

from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute, is_standard

_IMAGE_RANK = 4


def pool_means(graph: Graph) -> int:
    """Replace each mean over height and width by `GlobalAveragePool`; return how many there were.

    torch's exporter writes a `ReduceMean`. It reads a float image in ONNX's layout, so that the
    runtime turns what a convolution has computed, and dequantizes it first, if it is in 8 bits.
    """
    means = {id(node): _pooling(node) for node in graph.nodes if _is_mean_of_image(graph, node)}
    if means:
        graph.set_nodes([means.get(id(node), node) for node in graph.nodes])
        graph.remove_unused()
    return len(means)


def _pooling(node: NodeProto) -> NodeProto:
    return helper.make_node("GlobalAveragePool", node.input[:1], node.output, name=node.name)


def _is_mean_of_image(graph: Graph, node: NodeProto) -> bool:
    if not is_standard(node, "ReduceMean") or not attribute(node, "keepdims", 1):
        return False
    axes = graph.value(node.input[1]) if len(node.input) > 1 else attribute(node, "axes", None)
    shape = graph.shape(node.input[0])
    if axes is None or shape is None or len(shape) != _IMAGE_RANK:
        return False
    return sorted(int(axis) % _IMAGE_RANK for axis in axes) == [2, 3]
