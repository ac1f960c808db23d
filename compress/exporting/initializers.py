"""Compares the weights of a graph with the module's: a pruned model's file must be as narrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.errors import StageError
from compress.onnx_graph.graph import Graph

if TYPE_CHECKING:
    import onnx
    from torch import nn

_TRANSPOSED = ".transposed"
_FOLDED_BIAS = "_bias"
"""Suffix that the exporter adds to a convolution's weight's name, for the bias that comes from its
batch normalisation."""


def check_shapes(model: onnx.ModelProto, module: nn.Module) -> None:
    """Require that every initialiser that is a module's parameter has that parameter's shape.

    A linear layer's weight may be transposed, and a convolution may get its batch normalisation's
    bias. Parameters that the graph doesn't hold under a name (folded away, unused, or equal to
    another) can't be compared; a wrong value of these shows in the answers.

    Parameters
    ----------
    model : a model as `name_weights` leaves it.

    Raises
    ------
    StageError : a shape differs; the message names the first.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    biases = {
        f"{name}.weight{_FOLDED_BIAS}": (part.out_channels,)
        for name, part in module.named_modules()
        if isinstance(getattr(part, "out_channels", None), int)
    }
    turned = {f"{name}{_TRANSPOSED}": shape[::-1] for name, shape in shapes.items()}
    wanted = biases | turned | shapes
    for tensor in Graph(model).initializers.values():
        got = tuple(tensor.dims)
        if got != wanted.get(tensor.name, got):
            raise StageError(
                f"the exported graph holds {tensor.name!r} in the shape {got}. The module's is "
                f"{wanted[tensor.name]}."
            )
