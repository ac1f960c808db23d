"""A graph with every form of a weight, as an ONNX file."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def every_form(path, *, width=48):
    """An embedding, tied to a head behind a Transpose, and Gemms of several kinds."""
    rng = np.random.default_rng(0)

    def constant(name, *shape):
        values = rng.standard_normal(shape).astype(np.float32) / max(1, shape[-1]) ** 0.5
        return numpy_helper.from_array(values, name)

    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"], name="embed"),
        helper.make_node("Gemm", ["x", "plain", "bias"], ["a"], name="gemm"),
        helper.make_node("Gemm", ["a", "turned", "column"], ["b"], name="gemm_turned", transB=1),
        helper.make_node("Gemm", ["b", "scaled"], ["c"], name="gemm_scaled", alpha=0.5),
        helper.make_node("Transpose", ["table"], ["head"], name="turn", perm=[1, 0]),
        helper.make_node("MatMul", ["c", "head"], ["y"], name="head_product"),
    ]
    weights = [
        constant("table", 20, width), constant("plain", width, 24), constant("bias", 24),
        constant("turned", width, 24), constant("column", 1, 1), constant("scaled", width, width),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "forms",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 20])],
        weights,
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path
