"""ONNX Runtime's fused operators count as the graphs that they stand for."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import quantize_dynamic

from compress.measurement.macs.graph import count_macs
from compress.measurement.params import count_params

MICROSOFT = "com.microsoft"
N, S, C = 1, 5, 8  # one sample, positions, width


def floats(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def saved(tmp_path, node, weights, shape=("n", S, C)):
    made = helper.make_graph(
        [node],
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
    path = tmp_path / "made.onnx"
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=10), path)
    return path


def made(kind, inputs, **attributes):
    return helper.make_node(kind, inputs, ["y"], domain=MICROSOFT, **attributes)


INT8 = {
    "w": np.ones((C, 12), np.int8),
    "s": floats(12),
    "z": np.zeros(12, np.int8),
    "b": floats(12),
}
PROJECTED = {"w": floats(C, 3 * C), "b": floats(3 * C)}
BY_HAND = {
    "DynamicQuantizeMatMul": (
        made("DynamicQuantizeMatMul", ["x", "w", "s", "z", "b"]),
        INT8, S * C * 12, C * 12 + 12,
    ),
    "FusedMatMul, transposed": (
        made("FusedMatMul", ["x", "w"], transA=1), {"w": floats(S, 3)}, S * C * 3, S * 3,
    ),
    "FusedMatMul, both batches of it": (
        made("FusedMatMul", ["x", "x"], transB=1), {}, S * S * C, 0,
    ),
    "Attention": (
        made("Attention", ["x", "w", "b"], num_heads=2),
        PROJECTED, S * C * 3 * C + 2 * S * S * C, 3 * C * C + 3 * C,
    ),
    "MultiHeadAttention": (
        made("MultiHeadAttention", ["x", "k", "v"], num_heads=2),
        {"k": floats(1, 7, C), "v": floats(1, 7, 6)}, S * 7 * C + S * 7 * 6, 7 * C + 7 * 6,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_fused_operators_by_hand(tmp_path, case):
    node, weights, macs, params = BY_HAND[case]
    path = saved(tmp_path, node, weights)
    assert count_macs(path, {"x": floats(N, S, C)}) == (macs, ())
    assert count_params(path) == params


def test_a_matrix_product_of_integers_with_scales(tmp_path):
    weights = {
        "w": np.ones((C, 12), np.int8),
        "a": np.float32(0.1),
        "s": floats(12),
        "az": np.uint8(3),
        "wz": np.zeros(12, np.int8),
        "b": floats(12),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "a", "az"], ["q"]),
        made("MatMulIntegerToFloat", ["q", "w", "a", "s", "az", "wz", "b"]),
    ]
    path = saved(tmp_path, nodes[1], weights)
    model = onnx.load(path)
    model.graph.node.insert(0, nodes[0])
    onnx.save(model, path)
    assert count_macs(path, {"x": floats(N, S, C)}) == (S * C * 12, ())
    assert count_params(path) == C * 12 + 12


@pytest.mark.parametrize("int8", [False, True])
def test_a_graph_that_the_runtime_optimized_counts_as_before(tmp_path, bert_onnx, texts, int8):
    source, optimized = bert_onnx, tmp_path / "optimized.onnx"
    if int8:
        source = tmp_path / "int8.onnx"
        quantize_dynamic(bert_onnx, source, per_channel=True)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimized)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    domains = {node.domain for node in onnx.load(optimized).graph.node}
    assert MICROSOFT in domains
    assert count_params(optimized) == count_params(bert_onnx)
    assert count_macs(optimized, texts(1)) == count_macs(bert_onnx, texts(1))
