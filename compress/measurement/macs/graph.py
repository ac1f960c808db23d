"""Counts the multiply-accumulates of one sample in an ONNX graph, from shapes seen in a run.

`compress.measurement.macs.module` counts those of a torch module, by the same formulas
(`compress.measurement.macs.formulas`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from compress.errors import StageError
from compress.measurement.macs.formulas import Shape
from compress.measurement.macs.inner import Probe, add_probes
from compress.measurement.macs.operators import operator_of
from compress.measurement.session import feed, runtime_errors, unoptimized_session
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.inner import reads
from compress.onnx_graph.nodes import attributes
from compress.onnx_graph.order import needed

if TYPE_CHECKING:
    import numpy as np
    from onnx import NodeProto
    from onnxruntime import OrtValue

SAME_SHAPE = frozenset({"DequantizeLinear", "QuantizeLinear", "Identity", "Cast"})
PRODUCT_NAME = re.compile(r"MatMul|Gemm|Conv(?!ert)|Attention|LSTM|GRU|RNN|Einsum|MoE")


class Macs(NamedTuple):
    """Multiply-accumulates of one sample, and notes on what they leave out."""

    total: int
    notes: tuple[str, ...]


def count_macs(onnx: Path, inputs: Mapping[str, np.ndarray]) -> Macs:
    """Multiply-accumulates of convolutions, recurrences and matmuls for one sample.

    The graph runs once, unoptimised, on the first row of the inputs, so shapes are exact; inner
    graphs (of If, Loop and Scan) count as often as they run. Attention's two matmuls count;
    biases, norms and element-wise work don't. Matmuls of constants, which a runtime
    computes in advance, and matmuls whose results nothing reads don't either. A float graph and its
    INT8 form give the same number.

    Parameters
    ----------
    inputs : arrays (N, …) by input name; text at the length that is to be counted.

    Returns
    -------
    The number, and notes that name the operators which multiply but aren't counted.

    Raises
    ------
    DataError : one of the model's inputs is missing.
    StageError : the file can't be read or run.
    """
    try:
        return _count(load_graph(onnx), inputs, onnx, inside=True)
    except StageError:
        if len(load_graph(onnx).levels) == 1:
            raise
        # Shapes that change from run to run of an inner graph can't be stacked.
        return _count(load_graph(onnx), inputs, onnx, inside=False)


def _count(graph: Graph, inputs: Mapping[str, np.ndarray], onnx: Path, *, inside: bool) -> Macs:
    matmuls = [node for node in _computed(graph) if operator_of(node) is not None]
    multiplying = Counter(_inner_matmuls(graph))
    probes = add_probes(graph) if inside else []
    shapes, arrays = _seen(graph, matmuls, probes, inputs, onnx)
    every = [(node, [shapes[name] for name in _operands(node)]) for node in matmuls]
    every += [(probe.node, run) for probe in probes for run in probe.runs(arrays)]
    multiplying.subtract(f"{probe.node.op_type} in an inner graph" for probe in probes)
    multiplying.update(
        node.op_type
        for node in graph.nodes
        if PRODUCT_NAME.search(node.op_type) and operator_of(node) is None
    )
    total = sum(_macs(node, operands) for node, operands in every)
    return Macs(total, tuple(_uncounted(multiplying)))


def _macs(node: NodeProto, operands: list[Shape]) -> int:
    operator = operator_of(node)
    return 0 if operator is None else operator.count(attributes(node), operands)


def _operands(node: NodeProto) -> list[str]:
    operator = operator_of(node)
    return [] if operator is None else operator.names(node)


def _computed(graph: Graph) -> list[NodeProto]:
    """The nodes that depend on an input of the graph, and that an output needs."""
    varying = set(graph.inputs)
    found = []
    for node in needed(graph.nodes, graph.outputs):  # in topological order
        if varying.intersection(reads(node)):
            varying.update(node.output)
            found.append(node)
    return found


def _seen(
    graph: Graph,
    matmuls: Iterable[NodeProto],
    probes: Iterable[Probe],
    inputs: Mapping[str, np.ndarray],
    onnx: Path,
) -> tuple[dict[str, Shape], dict[str, np.ndarray[Any, Any]]]:
    """Shapes of the matmuls' operands, which are read or seen in a run, and the probes' values."""
    static = _static_shapes(graph)
    names = {name for node in matmuls for name in _operands(node)}
    shapes = {name: static[name] for name in names if name in static}
    unseen = sorted(names - shapes.keys() - graph.inputs.keys())
    probed = [name for probe in probes for name in probe.names]
    values, results = _run(graph, [*unseen, *probed], inputs, onnx)
    shapes |= values | {name: tuple(results[name].shape()) for name in unseen}
    return shapes, {name: results[name].numpy() for name in probed}


def _run(
    graph: Graph, names: list[str], inputs: Mapping[str, np.ndarray], onnx: Path
) -> tuple[dict[str, Shape], dict[str, OrtValue]]:
    """Shapes of the graph's inputs for one sample, and the tensors of these names."""
    from onnxruntime import OrtValue

    graph.add_outputs(names)
    session = unoptimized_session(graph.model, path=onnx)
    arrays = {name: array[:1] for name, array in feed(session, inputs).items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if not names:
        return shapes, {}
    values = {name: OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
    try:
        results = session.run_with_ort_values(names, values)
    except runtime_errors() as error:
        raise StageError(f"ONNX Runtime can't run {onnx} on one sample: {error}") from error
    return shapes, dict(zip(names, results, strict=True))


def _static_shapes(graph: Graph) -> dict[str, Shape]:
    """Shapes of constants, and of what is only dequantized or cast from them."""
    shapes = {name: constant.shape for name, constant in graph.constants.items()}
    for node in graph.nodes:  # in topological order
        if node.op_type in SAME_SHAPE and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return shapes


def _inner_matmuls(graph: Graph) -> Iterator[str]:
    for node in graph.every_node[len(graph.nodes) :]:
        if PRODUCT_NAME.search(node.op_type):
            yield f"{node.op_type} in an inner graph"


def _uncounted(multiplying: Counter[str]) -> Iterator[str]:
    missed = +multiplying
    if missed:
        named = ", ".join(f"{count} {name}" for name, count in sorted(missed.items()))
        yield f"macs leave out operators that can't be counted: {named}."
