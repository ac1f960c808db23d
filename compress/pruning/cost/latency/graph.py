"""An ONNX graph in the making."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compress.measurement.macs.aten import Sizes

if TYPE_CHECKING:
    from onnx import ModelProto

_OPSET = 20


class OperatorGraph:
    """Nodes and weights that are added one by one; weights are random, as zeros may be quicker."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._random = np.random.default_rng(0)

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node; returns its output's name."""
        from onnx import helper

        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight(self, shape: Sizes) -> str:
        """Add a weight; returns its name."""
        return self._constant(self._random.standard_normal(shape, dtype=np.float32) * 0.05)

    def numbers(self, *values: int) -> str:
        """Add whole numbers, such as a shape; returns their name."""
        return self._constant(np.array(values, dtype=np.int64))

    def _constant(self, values: np.ndarray[Any, Any]) -> str:
        from onnx import numpy_helper

        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def model(self, inputs: dict[str, Sizes], outputs: list[str]) -> ModelProto:
        """The finished model. First axes are symbolic, lest shapes be computed beforehand."""
        from onnx import TensorProto, helper

        given = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [f"{name}_n", *shape[1:]])
            for name, shape in inputs.items()
        ]
        shapes = {node.output[0] for node in self._nodes if node.op_type == "Shape"}
        made = [
            helper.make_tensor_value_info(
                name, TensorProto.INT64 if name in shapes else TensorProto.FLOAT, None
            )
            for name in outputs
        ]
        graph = helper.make_graph(self._nodes, "operator", given, made, self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
