"""onnxruntime's quantizers, with scales of weights that leave room for the bias.

A bias is stored in int32, on the grid of its input's scale times its weight's. A filter whose
weights are nearly zero has so small a scale that its bias would be clipped. onnxruntime enlarges
such scales of signed weights alone; here they are enlarged whatever the type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer


class RoomyQDQQuantizer(QDQQuantizer):  # type: ignore[misc]
    """Writes QuantizeLinear and DequantizeLinear."""

    def _adjust_weight_quant_params_for_bias_tensors(self) -> None:
        for bias, info in self.bias_to_quantize.items():
            weight = self.initializer_quant_params.get(info.weight_name)
            known = info.input_name in self.quantization_params
            if weight is None or not known or info.input_name not in self.tensors_to_quantize:
                continue
            given = self.quantization_params[info.input_name].get_for_consumer(info.node_name)
            kind = self.tensors_to_quantize[info.input_name].data_type
            widened, scale = self._adjust_weight_scale_for_int32_bias(
                np.asarray(given["scale"], dtype=helper.tensor_dtype_to_np_dtype(kind)),
                weight["scale"],
                info.weight_name,
                self.model.get_initializer(bias),
                weight.get("axis") is not None,
            )
            if widened:
                weight["scale"] = scale


class RoomyONNXQuantizer(ONNXQuantizer):  # type: ignore[misc]
    """Writes integer operators."""

    def quantize_bias_static(self, bias: str, given: str, weight: str, beta: float = 1.0) -> Any:
        """Enlarge the weight's scale as needed, then quantize the bias as onnxruntime does."""
        if self.weight_qType != TensorProto.INT8 and bias not in self.quantized_value_map:
            widened, scale = self._adjust_weight_scale_for_int32_bias(
                self._values(self._scale_of(given)),
                self._values(self.quantized_value_map[weight].scale_name).copy(),
                weight,
                self.model.get_initializer(bias),
                self.per_channel,
            )
            if widened:
                self._requantize_weight(weight, scale)
        return super().quantize_bias_static(bias, given, weight, beta)

    def _scale_of(self, name: str) -> str:
        if name in self.quantized_value_map:
            return str(self.quantized_value_map[name].scale_name)
        return str(self._get_quantization_params(name)[1])

    def _values(self, name: str) -> np.ndarray:
        return np.asarray(numpy_helper.to_array(self.model.get_initializer(name)))
