"""Types and shapes of a graph's tensors, declared and inferred."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import onnx
from onnx import ModelProto, ValueInfoProto

Dim = int | str | None
Shape = tuple[Dim, ...]
"""A dimension is a size, a symbol, or None if it is unknown."""

_LARGE = 1024
"""Number of elements; the values of larger constants say nothing about shapes."""


class TensorType(NamedTuple):
    """The known type and shape of a tensor.

    Attributes
    ----------
    element : a TensorProto.DataType; 0 if it is unknown.
    shape : the shape; None if the number of dimensions is unknown.
    """

    element: int
    shape: Shape | None


def declared_type(value: ValueInfoProto) -> TensorType:
    """The type that an input, an output or an entry of `value_info` declares."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return TensorType(kind.elem_type, None)
    dims = (
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
        for dim in kind.shape.dim
    )
    return TensorType(kind.elem_type, tuple(dims))


def infer_types(model: ModelProto) -> dict[str, TensorType]:
    """The known types of the tensors of the top-level graph by name, without initializers.

    They are inferred on a copy without large constants, as large models can't be serialized.
    """
    light = ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph, source = light.graph, model.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    for tensor in source.initializer:
        if prod(tensor.dims) <= _LARGE:
            graph.initializer.append(tensor)
        else:
            graph.initializer.add(
                name=tensor.name, data_type=tensor.data_type, dims=list(tensor.dims)
            )
    inferred = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    return {value.name: declared_type(value) for value in values}
