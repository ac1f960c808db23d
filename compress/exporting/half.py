"""Converts a float ONNX file to half precision (fp16), for GPUs and for half the download.

Inputs and outputs stay float32, as with Transformers.js's own converter, so that callers needn't
change. ONNX Runtime's converter does the work. That converter silently clips weights beyond 65504,
and lets activations overflow. Both cases are found here, and refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from compress.errors import ParityError, StageError
from compress.exporting.parity.compare import Parity, compare, onnx_answers
from compress.exporting.parity.first_difference import first_difference_of_files
from compress.exporting.silence import silence
from compress.measurement.session import run, unoptimized_session
from compress.onnx_graph.files import (
    check_file,
    fits_one_file,
    load_graph,
    load_model,
    remove_model,
    save_model,
)
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.nodes import attribute

if TYPE_CHECKING:
    from compress.core.context import Batch, Target

HALF_TOLERANCE = 2e-2
"""Tolerance relative to the largest answer: fp16 keeps 11 bits (5e-4), and errors add up."""
LARGEST = 65504.0
_MASKED = -3e4
"""Replaces minus infinity in masks: far below every score, and adding a score doesn't overflow."""
_FAR_BELOW = -1e30
_AT_ONCE = 64
_OF_INTEGERS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulNBits")
_THERE_AND_BACK = (TensorProto.FLOAT16, TensorProto.FLOAT)


def to_half(
    source: Path, *, path: Path, batches: Iterable[Batch], target: Target = "class"
) -> Parity:
    """Write a float file in half precision; return the parity of its answers with the float file's.

    Constants of masks (minus infinity, or float32's least number) become -30,000. The converter
    would make them -65,504. With a score added that is minus infinity, and a row of padding alone
    would become NaN.

    Parameters
    ----------
    source : a float32 file.
    path : the file to write.
    batches : real samples; the first batch is also searched for values that don't fit.

    Raises
    ------
    StageError : the file holds quantized weights; or a weight, or an activation on the first batch,
        is beyond 65504.
    ParityError : the answers differ by more than a fiftieth of the largest.
    """
    given = list(batches)
    if not given:
        raise StageError("no samples to compare the fp16 file on.")
    graph = Graph(load_model(source))
    _require_float(graph, source)
    _require_fitting_weights(graph)
    _require_fitting_activations(source, given[0])
    save_model(_converted(graph.model), path)
    try:
        check_file(path)
        return _require_parity(source, path, batches=given, target=target)
    except StageError:
        remove_model(path)
        raise


def _require_float(graph: Graph, source: Path) -> None:
    if any(node.op_type in _OF_INTEGERS for node in graph.nodes):
        raise StageError(
            f"'precision: fp16' needs a float model. Got {source.name}, which is quantized: its "
            "8-bit kernels work with float32. Export it with 'precision: fp32', or before "
            "'quantize'."
        )


def _require_fitting_weights(graph: Graph) -> None:
    for tensor in graph.tensors():
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        masked = values <= _FAR_BELOW
        largest = float(np.abs(values[~masked]).max(initial=0))
        if largest > LARGEST:
            raise StageError(
                f"fp16 holds no value beyond {LARGEST:,.0f}, and {tensor.name!r} reaches "
                f"{largest:,.0f}. Export with 'precision: fp32'."
            )
        if masked.any():
            name = tensor.name
            tensor.CopyFrom(
                numpy_helper.from_array(np.where(masked, _MASKED, values).astype(np.float32), name)
            )


def _require_fitting_activations(source: Path, batch: Batch) -> None:
    """Refuse activations that fp16 can't hold.

    On a CPU, ONNX Runtime computes fp16 in float32, so an overflow wouldn't show in the answers.
    """
    names = [name for node in load_graph(source).nodes for name in node.output if name]
    for start in range(0, len(names), _AT_ONCE):
        graph = load_graph(source)
        graph.add_outputs(names[start : start + _AT_ONCE])
        for name, values in run(unoptimized_session(graph.model, path=source), batch).items():
            if values.dtype != np.float32:
                continue
            largest = float(np.abs(values[values > _FAR_BELOW]).max(initial=0))
            if largest > LARGEST:
                raise StageError(
                    f"fp16 holds no value beyond {LARGEST:,.0f}, and the activation {name!r} "
                    f"reaches {largest:,.0f} on real samples. Export with 'precision: fp32'."
                )


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    with silence():
        half: onnx.ModelProto = convert_float_to_float16(
            model,
            keep_io_types=True,
            node_block_list=_rotations(Graph(model)),
            # Shape inference serializes the model, which isn't possible beyond 2 GB.
            disable_shape_infer=not fits_one_file(model),
        )
        _join(Graph(half))
        OnnxModel(half).topological_sort()  # casts were put at the graph's end
    return half


def _rotations(graph: Graph) -> list[str]:
    """Return nodes that compute angles of rotary positions, as fp16 can't count beyond 2048."""
    waiting = [node for node in graph.nodes if node.op_type in ("Cos", "Sin")]
    found: dict[str, None] = {}
    while waiting:
        node = waiting.pop()
        if node.name not in found:
            found[node.name] = None
            makers = (graph.producer(name) for name in node.input)
            waiting.extend(maker for maker in makers if maker is not None)
    return list(found)


def _join(graph: Graph) -> None:
    """Remove casts to fp16 and back between float32 nodes, which the converter inserts."""
    straight: dict[str, str] = {}
    for node in graph.nodes:
        before = graph.made_by(node.input[0], "Cast") if node.op_type == "Cast" else None
        if before is None or node.output[0] in graph.outputs:
            continue
        if (attribute(before, "to", 0), attribute(node, "to", 0)) == _THERE_AND_BACK:
            straight[node.output[0]] = before.input[0]
    graph.redirect(straight)
    graph.set_nodes(node for node in graph.nodes if not _is_unread_cast(graph, node))


def _is_unread_cast(graph: Graph, node: onnx.NodeProto) -> bool:
    name = node.output[0]
    return node.op_type == "Cast" and name not in graph.outputs and not graph.readers(name)


def _require_parity(source: Path, path: Path, *, batches: list[Batch], target: Target) -> Parity:
    found = compare(onnx_answers(source), onnx_answers(path), batches=batches, target=target)
    allowed = HALF_TOLERANCE * max(1.0, found.scale)
    if not found.max_error <= allowed:
        difference = first_difference_of_files(source, path, batch=batches[0], tolerance=0.01)
        raise ParityError(
            f"{path.name} in fp16 doesn't answer as in fp32: {found}. Allowed: a max error of "
            f"{allowed:.1e}. {difference or ''}".strip()
        )
    return found
