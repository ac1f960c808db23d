"""Changes of graphs by onnx, which are made without large weights: a message ends at 2 GiB."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from onnx import ModelProto, helper

_LARGE = 1024
"""Number of elements; no change of a graph reads the values of larger constants."""


def without_large_weights(model: ModelProto, change: Callable[[ModelProto], ModelProto]) -> None:
    """Change a model's graph in place by a function that serializes it; large weights stay.

    The function gets a model in which large initializers, and sparse ones, are inputs instead.
    Whatever it raises leaves the model as it was.

    Parameters
    ----------
    change : a function of a model that returns another one, with the same inputs and functions that
        it needs no more left out.
    """
    graph = model.graph
    light = ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = graph.name
    light.graph.node.extend(graph.node)
    light.graph.input.extend(graph.input)
    light.graph.output.extend(graph.output)
    light.graph.value_info.extend(graph.value_info)
    kept = {}
    for tensor in graph.initializer:
        if prod(tensor.dims) > _LARGE:
            kept[tensor.name] = (tensor.data_type, list(tensor.dims))
        else:
            light.graph.initializer.append(tensor)
    for sparse in graph.sparse_initializer:
        kept[sparse.values.name] = (sparse.values.data_type, list(sparse.dims))
    declared = {value.name for value in graph.input}
    for name, (element, dims) in kept.items():
        if name not in declared:
            light.graph.input.append(helper.make_tensor_value_info(name, element, dims))
    changed = change(light)
    for place in reversed(range(len(graph.initializer))):
        if graph.initializer[place].name not in kept:
            del graph.initializer[place]
    graph.initializer.extend(changed.graph.initializer)
    for field in ("node", "input", "output", "value_info"):
        graph.ClearField(field)
    graph.node.extend(changed.graph.node)
    given = (x for x in changed.graph.input if x.name not in kept or x.name in declared)
    graph.input.extend(given)
    graph.output.extend(changed.graph.output)
    graph.value_info.extend(changed.graph.value_info)
    del model.opset_import[:]
    model.opset_import.extend(changed.opset_import)
    del model.functions[:]
    model.functions.extend(changed.functions)
