"""Dynamic quantization: weights are stored in 8 bits, activations are quantized at run time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from compress.onnx_graph.files import load_model
from compress.quantization.integers import Integers
from compress.quantization.library import built
from compress.quantization.write import write

if TYPE_CHECKING:
    from compress.quantization.selection import Selection


def quantize_dynamic(
    source: Path,
    *,
    path: Path,
    selection: Selection,
    integers: Integers,
    per_channel: bool = True,
) -> Path:
    """Write an INT8 model that needs no calibration: matmuls, embeddings and LSTMs are quantized.

    Parameters
    ----------
    source : the float model.
    path : the file to write.
    selection : the nodes to quantize; see `selection.select`.
    integers : the 8-bit types; activations are unsigned in any case.
    per_channel : use one scale for each output channel of a weight, rather than one for the
        whole weight.

    Raises
    ------
    StageError : onnxruntime's quantizer fails on a node.
    """

    def build(selection: Selection) -> onnx.ModelProto:
        return _quantized(source, selection, integers=integers, per_channel=per_channel)

    return write(built(build, selection), path=path, source=source)


def _quantized(
    source: Path, selection: Selection, *, integers: Integers, per_channel: bool
) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic as quantize

    # onnxruntime first turns each Gemm into a MatMul of this name, and an Add.
    excluded = [*selection.excluded, *(f"{name}_MatMul" for name in selection.excluded)]
    with tempfile.TemporaryDirectory() as folder:
        quantized = Path(folder) / "quantized.onnx"
        quantize(
            load_model(source),
            quantized,
            op_types_to_quantize=[kind for kind in selection.operators if kind != "Gemm"],
            per_channel=per_channel,
            reduce_range=integers.reduce_range,
            weight_type=QuantType.QInt8 if integers.weights == "int8" else QuantType.QUInt8,
            nodes_to_exclude=excluded,
            extra_options={
                "MatMulConstBOnly": True,
                "WeightSymmetric": True,
                "DefaultTensorType": onnx.TensorProto.FLOAT,
            },
        )
        return load_model(quantized)
