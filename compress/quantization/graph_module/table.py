"""All operators that are known, by name."""

from __future__ import annotations

from collections.abc import Mapping

from compress.errors import StageError
from compress.quantization.graph_module.convolution import CONVOLUTION
from compress.quantization.graph_module.elementwise import ELEMENTWISE
from compress.quantization.graph_module.fake_quantization import QUANTIZATION
from compress.quantization.graph_module.indexing import INDEXING
from compress.quantization.graph_module.operator import Operator
from compress.quantization.graph_module.reduction import REDUCTION
from compress.quantization.graph_module.shape import SHAPE
from compress.quantization.graph_module.training import TRAINING

OPERATORS: Mapping[str, Operator] = {
    **CONVOLUTION, **ELEMENTWISE, **INDEXING, **REDUCTION, **SHAPE, **QUANTIZATION, **TRAINING,
}  # fmt: skip


def operator(name: str, *, node: str) -> Operator:
    """The operator of that name.

    Raises
    ------
    StageError : it isn't among those that can be trained.
    """
    found = OPERATORS.get(name)
    if found is None:
        raise StageError(
            f"node {node!r} is a {name}, which can't be run as a torch module. "
            f"Known: {', '.join(sorted(OPERATORS))}."
        )
    return found
