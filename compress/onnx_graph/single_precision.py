"""Turns a graph of other float types into one of float32."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from compress.onnx_graph.inner import tensors, with_inner

OTHERS: dict[int, str] = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}
"""Float types that quantization doesn't take, with their names."""
_TYPES = ("to", "dtype", "output_dtype")
"""Attributes that name the type of a node's result."""


def in_single_precision(model: ModelProto) -> tuple[str, ...]:
    """Let all floats of a model be float32; return the names of the types that its weights had.

    Parameters
    ----------
    model : changed in place, with its weights in memory. Types of inputs and outputs change too.
    """
    found = {tensor.data_type for tensor in tensors(model)} & set(OTHERS)
    if not found:
        return ()
    for tensor in tensors(model):
        if tensor.data_type in OTHERS:
            values = numpy_helper.to_array(tensor).astype("float32")
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for graph in with_inner(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            _declare(value)
        for attribute in _types(graph.node):
            attribute.i = TensorProto.FLOAT
    return tuple(sorted(OTHERS[kind] for kind in found))


def _declare(value: ValueInfoProto) -> None:
    if value.type.tensor_type.elem_type in OTHERS:
        value.type.tensor_type.elem_type = TensorProto.FLOAT


def _types(nodes: Iterator[NodeProto] | list[NodeProto]) -> Iterator[AttributeProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.name in _TYPES and attribute.i in OTHERS:
                yield attribute
