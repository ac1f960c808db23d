"""Constants of a graph, by type and shape."""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import GraphProto, NodeProto, TensorProto

from compress.onnx_graph.inner import with_inner
from compress.onnx_graph.nodes import is_standard


@dataclass(frozen=True)
class Constant:
    """An initializer, or the tensor of a `Constant` node.

    Attributes
    ----------
    type : a TensorProto.DataType.
    tensor : its values; None if a `Constant` node doesn't hold them as a tensor.
    """

    type: int
    shape: tuple[int, ...]
    tensor: TensorProto | None = field(default=None, compare=False, repr=False)


def constants(graph: GraphProto) -> dict[str, Constant]:
    """Initializers and `Constant` nodes by the name of their tensor, inner graphs included."""
    found: dict[str, Constant] = {}
    for each in with_inner(graph):
        for tensor in each.initializer:
            found[tensor.name] = Constant(tensor.data_type, tuple(tensor.dims), tensor)
        for sparse in each.sparse_initializer:
            found[sparse.values.name] = Constant(sparse.values.data_type, tuple(sparse.dims))
        for node in each.node:
            constant = _constant(node) if is_standard(node, "Constant") else None
            if constant is not None:
                found[node.output[0]] = constant
    return found


def _constant(node: NodeProto) -> Constant | None:
    """A node's constant; None for texts, which are neither weights nor operands of a matmul."""
    attribute = node.attribute[0]
    match attribute.name:
        case "value":
            return Constant(attribute.t.data_type, tuple(attribute.t.dims), attribute.t)
        case "sparse_value":
            values = attribute.sparse_tensor.values
            return Constant(values.data_type, tuple(attribute.sparse_tensor.dims))
        case "value_float" | "value_floats":
            shape = (len(attribute.floats),) if attribute.name.endswith("s") else ()
            return Constant(TensorProto.FLOAT, shape)
        case "value_int" | "value_ints":
            shape = (len(attribute.ints),) if attribute.name.endswith("s") else ()
            return Constant(TensorProto.INT64, shape)
        case _:
            return None
