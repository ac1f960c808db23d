"""Static quantization: weights and activations have fixed scales, in QDQ form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from compress.core.progress import Progress
from compress.quantization.calibration import Batches, calibrate
from compress.quantization.instructions import Instructions
from compress.quantization.options import Calibration
from compress.quantization.ranges import Range
from compress.quantization.silence import silence
from compress.quantization.write import write

if TYPE_CHECKING:
    from compress.quantization.selection import Selection


def quantize_static(
    source: Path,
    *,
    path: Path,
    selection: Selection,
    batches: Batches,
    calibration: Calibration,
    instructions: Instructions,
    per_channel: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Write an INT8 model: activations unsigned and asymmetric, weights signed and symmetric.

    Parameters
    ----------
    source : the float model.
    path : the file to write.
    selection : what to quantize; see `selection.select`.
    batches : calibration samples, gone through up to twice.
    instructions : see `instructions.int8_instructions`.
    per_channel : a scale for each output channel of a weight, rather than one for all.

    Raises
    ------
    StageError : no calibration samples, or activations that aren't finite.
    """
    tensors = activations(onnx.load(str(source), load_external_data=False), selection)
    ranges = calibrate(
        onnx.load(str(source), load_external_data=False),
        tensors,
        path=source,
        batches=batches,
        calibration=calibration,
        progress=progress,
    )
    with silence():
        model = _insert(
            onnx.load(str(source)),
            ranges=ranges,
            selection=selection,
            reduce_range=instructions.reduce_range,
            per_channel=per_channel,
        )
    return write(model, path=path, source=source)


def activations(model: onnx.ModelProto, selection: Selection) -> tuple[str, ...]:
    """Names of the float tensors that go in and out of the nodes to quantize."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    constant = {tensor.name for tensor in graph.initializer}
    is_float = {
        value.name
        for value in (*graph.value_info, *graph.input, *graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    wanted = set(selection.nodes)
    names = dict.fromkeys(
        name
        for node in graph.node
        if node.name in wanted
        for name in (*node.input, *node.output)
        if name in is_float and name not in constant
    )
    return tuple(names)


def _insert(
    model: onnx.ModelProto,
    *,
    ranges: Mapping[str, Range],
    selection: Selection,
    reduce_range: bool,
    per_channel: bool,
) -> onnx.ModelProto:
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    quantizer = QDQQuantizer(
        model,
        per_channel,
        reduce_range,
        QuantType.QInt8,
        QuantType.QUInt8,
        TensorsData(CalibrationMethod.MinMax, data),
        list(selection.nodes),
        list(selection.excluded),
        list(selection.operators),
        {"WeightSymmetric": True, "ActivationSymmetric": False},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized
