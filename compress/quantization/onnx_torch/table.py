"""All known operators, by name."""

from __future__ import annotations

from collections.abc import Mapping

from compress.errors import StageError
from compress.quantization.onnx_torch.convolution import CONVOLUTION
from compress.quantization.onnx_torch.elementwise import ELEMENTWISE
from compress.quantization.onnx_torch.fake_quantization import QUANTIZATION
from compress.quantization.onnx_torch.indexing import INDEXING
from compress.quantization.onnx_torch.operator import Operator
from compress.quantization.onnx_torch.reduction import REDUCTION
from compress.quantization.onnx_torch.shape import SHAPE
from compress.quantization.onnx_torch.training import TRAINING

OPERATORS: Mapping[str, Operator] = {
    **CONVOLUTION, **ELEMENTWISE, **INDEXING, **REDUCTION, **SHAPE, **QUANTIZATION, **TRAINING,
}  # fmt: skip


def operator(name: str, *, node: str) -> Operator:
    """The operator of a name.

    Raises
    ------
    StageError : the operator isn't known.
    """
    found = OPERATORS.get(name)
    if found is None:
        raise StageError(
            f"node {node!r} is a {name}, which can't be run as a torch module. "
            f"Known: {', '.join(sorted(OPERATORS))}."
        )
    return found
