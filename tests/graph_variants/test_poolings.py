"""Means over height and width become poolings, and no others."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from compress.graph_variants.poolings import pool_means
from compress.onnx_graph.graph import Graph

IMAGE = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype(np.float32)


def _model(axes, *, opset=20, **given):
    held = [] if opset < 18 else [numpy_helper.from_array(np.array(axes), "axes")]
    given |= {"axes": axes} if opset < 18 else {}
    names = ["x"] if opset < 18 else ["x", "axes"]
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", names, ["y"], name="mean", **given)],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 5, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        held,
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _answer(model):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": IMAGE})[0]


@pytest.mark.parametrize(("axes", "opset"), [([2, 3], 20), ([-1, -2], 20), ([2, 3], 13)])
def test_a_mean_over_height_and_width_is_a_pooling(axes, opset):
    model = _model(axes, opset=opset)
    wanted = _answer(model)
    assert pool_means(Graph(model)) == 1
    assert [node.op_type for node in model.graph.node] == ["GlobalAveragePool"]
    assert not model.graph.initializer
    np.testing.assert_allclose(_answer(model), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("axes", "given"), [([1, 2], {}), ([3], {}), ([2, 3], {"keepdims": 0}), ([1, 2, 3], {})]
)
def test_other_means_stay(axes, given):
    model = _model(axes, **given)
    assert pool_means(Graph(model)) == 0
    assert [node.op_type for node in model.graph.node] == ["ReduceMean"]
