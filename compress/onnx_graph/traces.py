"""Removes the exporter's notes from a graph, and renames its axes."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto

from compress.onnx_graph.inner import with_inner


def strip_traces(model: ModelProto) -> None:
    """Remove torch's notes on each node: stack traces with the machine's paths, and class names."""
    model.doc_string = ""
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for graph in with_inner(model.graph):
        graph.doc_string = ""
        del graph.metadata_props[:]
        values = (graph.input, graph.output, graph.value_info, graph.node, graph.initializer)
        for items in values:
            for item in items:
                item.doc_string = ""
                del item.metadata_props[:]


def rename_axes(model: ModelProto, names: Mapping[str, str]) -> None:
    """Give dynamic axes other names, wherever a shape is recorded."""
    for graph in with_inner(model.graph):
        for value in (*graph.input, *graph.output, *graph.value_info):
            for axis in value.type.tensor_type.shape.dim:
                if axis.dim_param in names:
                    axis.dim_param = names[axis.dim_param]
