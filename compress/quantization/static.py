"""Static quantization: weights and activations have fixed scales."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx

from compress.onnx_graph.files import load_model
from compress.onnx_graph.graph import Graph
from compress.quantization.bias_room import RoomyONNXQuantizer, RoomyQDQQuantizer
from compress.quantization.calibration.ranges import Range
from compress.quantization.integers import Integers
from compress.quantization.library import built
from compress.quantization.write import write

if TYPE_CHECKING:
    from compress.quantization.selection import Selection

QuantFormat = Literal["qdq", "qoperator"]


def quantize_static(
    source: Path,
    *,
    path: Path,
    selection: Selection,
    ranges: Mapping[str, Range],
    integers: Integers,
    per_channel: bool = True,
    quant_format: QuantFormat = "qdq",
) -> Path:
    """Write an INT8 model whose activations have the given ranges.

    Parameters
    ----------
    source : the float model.
    path : the file to write.
    selection : the nodes to quantize; see `selection.select`.
    ranges : least and largest value of each tensor that `activations` names.
    integers : the 8-bit types.
    per_channel : use one scale for each output channel of a weight, rather than one for the whole
        weight. Unsigned weights of ONNX Runtime's integer operators have one scale in any case,
        because those operators take a scale for each channel only with signed weights.
    quant_format : "qdq" wraps float operators in QuantizeLinear and DequantizeLinear, which any
        runtime reads; "qoperator" writes ONNX Runtime's integer operators.

    Raises
    ------
    StageError : onnxruntime's quantizer fails on a node, or the written file isn't a valid model,
        or is too large.
    """

    def build(selection: Selection) -> onnx.ModelProto:
        return _insert(
            load_model(source),
            ranges=ranges,
            selection=selection,
            integers=integers,
            per_channel=per_channel,
            quant_format=quant_format,
        )

    return write(built(build, selection), path=path, source=source)


def activations(graph: Graph, selection: Selection) -> tuple[str, ...]:
    """Names of the float inputs and outputs of the nodes to quantize."""
    wanted = set(selection.nodes)
    names = dict.fromkeys(
        name
        for node in graph.nodes
        if node.name in wanted
        for name in (*node.input, *node.output)
        if name not in graph.initializers and graph.element_type(name) == onnx.TensorProto.FLOAT
    )
    return tuple(names)


def _insert(
    model: onnx.ModelProto,
    *,
    ranges: Mapping[str, Range],
    selection: Selection,
    integers: Integers,
    per_channel: bool,
    quant_format: QuantFormat,
) -> onnx.ModelProto:
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData
    from onnxruntime.quantization.quant_utils import QuantizationMode

    kinds = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    symmetric = {
        "WeightSymmetric": True,
        "ActivationSymmetric": integers.activations == "int8",
        "DefaultTensorType": onnx.TensorProto.FLOAT,
        "OpTypesToExcludeOutputQuantization": list(selection.float_outputs),
    }
    rest: tuple[Any, ...] = (
        kinds[integers.weights],
        kinds[integers.activations],
        TensorsData(CalibrationMethod.MinMax, data),
        list(selection.nodes),
        list(selection.excluded),
        list(selection.operators),
        symmetric,
    )
    quantizer: Any
    if quant_format == "qdq":
        quantizer = RoomyQDQQuantizer(model, per_channel, integers.reduce_range, *rest)
    else:
        mode = QuantizationMode.QLinearOps
        # Per channel it would silently write signed weights, which can saturate.
        per_channel = per_channel and integers.weights == "int8"
        quantizer = RoomyONNXQuantizer(model, per_channel, integers.reduce_range, mode, True, *rest)
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized
