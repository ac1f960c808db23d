"""Dynamic matmuls with fixed scales: the same function, and no more depending on the batch."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from compress.errors import StageError
from compress.measurement.macs.graph import count_macs
from compress.measurement.params import count_params
from compress.measurement.session import run, session
from compress.quantization.static_scales import fix_scales

GENERATOR = np.random.default_rng(0)
RANGES = {"x": (-1.0, 1.0), "h": (0.0, 4.0)}


def floats(*shape):
    return GENERATOR.uniform(-1, 1, size=shape).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    """Two matmuls of one input, one with a bias, and a third of their sum: in float and INT8."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["xa"], name="first"),
        helper.make_node("Add", ["xa", "bias"], ["biased"]),
        helper.make_node("MatMul", ["x", "b"], ["xb"], name="second"),
        helper.make_node("Add", ["biased", "xb"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["h"]),
        helper.make_node("MatMul", ["h", "c"], ["y"], name="third"),
    ]
    weights = {"a": floats(8, 6), "b": floats(8, 6), "c": floats(6, 4), "bias": floats(6)}
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    source, dynamic = tmp_path / "float.onnx", tmp_path / "dynamic.onnx"
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), source)
    # Weights of 7 bits, which saturate on no CPU.
    quantize_dynamic(
        source, dynamic, per_channel=True, weight_type=QuantType.QInt8, reduce_range=True
    )
    return source, dynamic


def answer(path, x):
    return run(session(path, threads=1), {"x": x})["y"]


def test_fixed_scales_answer_nearly_as_the_float_graph(files, tmp_path):
    source, dynamic = files
    fixed, x = fix_scales(dynamic, path=tmp_path / "fixed.onnx", ranges=RANGES), floats(16, 8)
    kinds = [node.op_type for node in onnx.load(fixed).graph.node]
    assert sorted(kinds) == [
        "Add", *["MatMulIntegerToFloat"] * 3, *["QuantizeLinear"] * 2, "Relu",
    ]  # fmt: skip
    wanted = answer(source, x)
    assert np.abs(answer(fixed, x) - wanted).max() < 0.05 * np.abs(wanted).max()
    assert {n.name for n in onnx.load(fixed).graph.node} >= {"first_quant", "third_quant"}


def test_an_answer_no_longer_depends_on_its_batch(files, tmp_path):
    fixed, x = fix_scales(files[1], path=tmp_path / "fixed.onnx", ranges=RANGES), floats(2, 8)
    x[1] *= 0.1
    assert np.array_equal(answer(fixed, x)[1:], answer(fixed, x[1:]))
    assert not np.array_equal(answer(files[1], x)[1:], answer(files[1], x[1:]))


def test_counts_stay(files, tmp_path):
    source, dynamic = files
    fixed, batch = fix_scales(dynamic, path=tmp_path / "f.onnx", ranges=RANGES), {"x": floats(1, 8)}
    assert count_params(fixed) == count_params(source)
    assert count_macs(fixed, batch) == count_macs(source, batch)


def test_a_missing_range_is_named(files, tmp_path):
    with pytest.raises(StageError, match="no range is known for 'h'"):
        fix_scales(files[1], path=tmp_path / "f.onnx", ranges={"x": (-1, 1)})


def test_a_float_graph_is_refused(files, tmp_path):
    with pytest.raises(StageError, match="no dynamically quantized matmuls"):
        fix_scales(files[0], path=tmp_path / "f.onnx", ranges=RANGES)
