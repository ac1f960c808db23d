"""Dynamic quantization: weights are stored in 8 bits, activations are quantized at run time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from compress.onnx_graph.files import load_model
from compress.quantization.integers import Integers
from compress.quantization.silence import silence
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
    """Write an INT8 model that needs no calibration. Only matmuls and embeddings are quantized.

    Parameters
    ----------
    source : the float model.
    path : the file to write.
    selection : the nodes to quantize; see `selection.select`.
    integers : the 8-bit types; activations are unsigned in any case.
    per_channel : use one scale for each output channel of a weight, rather than one for the
        whole weight.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic as quantize

    # onnxruntime first turns each Gemm into a MatMul of this name, and an Add.
    excluded = [*selection.excluded, *(f"{name}_MatMul" for name in selection.excluded)]
    with silence(), tempfile.TemporaryDirectory() as folder:
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
        model = load_model(quantized)
    return write(model, path=path, source=source)
