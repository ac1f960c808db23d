"""The axes of a weight over which one scale is shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.onnx_graph.nodes import attribute

if TYPE_CHECKING:
    from onnx import NodeProto

WEIGHTS = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "MatMul": (0, 1),
    "Gemm": (0, 1),
    "Gather": (0,),
    "Einsum": (0, 1),
    "LSTM": (1, 2),
    "GRU": (1, 2),
    "RNN": (1, 2),
    "Transpose": (0,),
}
"""Indices of the inputs that may be weights, by operator. A tied head reads a Transpose."""


def shared_axes(node: NodeProto, index: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes over which the values of a node's weight share one scale.

    The other axes hold the output channels. A wrong choice costs accuracy and isn't an error, as
    scales of any shape that can be broadcast describe a weight.

    Parameters
    ----------
    index : index of the weight among the node's inputs.
    shape : shape of the weight, of two or more dimensions.
    """
    every = tuple(range(len(shape)))
    match node.op_type:
        case "Conv":
            return every[1:]
        case "ConvTranspose":  # (C_in, C_out / groups, …)
            return every[1:] if attribute(node, "group", 1) > 1 else (0, *every[2:])
        case "Gather":  # not one for each column, at which OpenVINO 2026.4 corrupts its memory
            return every[1:]
        case "MatMul":  # a batch of matrices has channels of its own for each
            return (every[-2],) if index == 1 else (every[-1],)
        case "Gemm":
            turned = bool(attribute(node, "transB" if index == 1 else "transA", 0))
            return (1,) if turned == (index == 1) else (0,)
    return (every[-1],)
