"""Weights that are stored in few bits: what they become, and that they are float once loaded."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from compress.errors import StageError
from compress.measurement.macs.graph import count_macs
from compress.measurement.params import count_params
from compress.measurement.session import run, session
from compress.measurement.size import size_bytes
from compress.quantization.storage.store import _in_8_bits, store_weights

RANDOM = np.random.default_rng(0)


def floats(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def write(path, nodes, inputs, output, weights):
    name, kind, rank = output
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(name, kind, [f"axis{n}" for n in range(rank)])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


FLOAT = TensorProto.FLOAT
FORMS = {
    "Conv": ([8, 3, 9, 9], floats(16, 3, 3, 3), {}),
    "Conv, depthwise": ([2, 32, 9, 9], floats(32, 1, 3, 3), {"group": 32}),
    "ConvTranspose": ([2, 12, 5, 5], floats(12, 8, 3, 3), {}),
    "ConvTranspose, in groups": ([2, 12, 5, 5], floats(12, 8, 3, 3), {"group": 2}),
    "MatMul": ([4, 32], floats(32, 20), {}),
    "MatMul, a matrix for each expert": ([6, 4, 16], floats(6, 16, 24), {}),
    "Gemm": ([4, 32], floats(32, 20), {}),
    "Gemm, transposed": ([4, 32], floats(20, 32), {"transB": 1}),
    "Gather, wide": ([5], floats(30, 128), {}),
    "Gather, narrow": ([5], floats(300, 8), {}),
}


@pytest.fixture(params=FORMS)
def one_node(request, tmp_path):
    """A file with one weighted node, and its inputs."""
    shape, weight, attributes = FORMS[request.param]
    kind = request.param.split(",")[0]
    gathers = kind == "Gather"
    node = helper.make_node(
        kind, ["w", "x"] if gathers else ["x", "w"], ["y"], name="node", **attributes
    )
    rank = 2 if gathers else len(shape)
    element = TensorProto.INT64 if gathers else FLOAT
    path = write(
        tmp_path / "float.onnx", [node], [("x", element, shape)], ("y", FLOAT, rank), {"w": weight}
    )
    return path, {"x": np.arange(5) if gathers else floats(*shape)}


def answers(path, inputs):
    return next(iter(run(session(path, threads=1), inputs).values()))


def loaded_operators(path, tmp_path):
    """The operators that the runtime calls, once it has loaded a file."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node}


@pytest.mark.parametrize(("bits", "most"), [(8, 0.02), (16, 0.001)])
def test_every_form_answers_almost_alike_and_is_float_once_loaded(one_node, tmp_path, bits, most):
    source, inputs = one_node
    path = tmp_path / "stored.onnx"
    store_weights(source, path=path, bits=bits)
    wanted, got = answers(source, inputs), answers(path, inputs)
    assert 0 < np.abs(got - wanted).max() / np.abs(wanted).max() < most
    [kept] = [x for x in onnx.load(path).graph.initializer if x.name == "w_stored"]
    assert kept.data_type == (TensorProto.INT8 if bits == 8 else TensorProto.FLOAT16)
    assert loaded_operators(path, tmp_path) == loaded_operators(source, tmp_path)
    assert count_params(path) == count_params(source)


@given(arrays(np.float32, (3, 5, 2), elements=st.floats(-1e4, 1e4, width=32)))
def test_a_weight_moves_by_half_a_step_of_its_channel_at_most(values):
    integers, scales = _in_8_bits(values, (1,))
    assert scales.shape == (3, 1, 2)
    step = np.abs(values).max(axis=1, keepdims=True) / 127
    assert (np.abs(integers * scales - values) <= step * 0.5001 + 1e-30).all()


def test_a_channel_of_zeros_stays_zero():
    integers, scales = _in_8_bits(np.zeros((2, 3), np.float32), (1,))
    assert not integers.any()
    assert np.isfinite(scales).all()


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "vit"])
def test_transformers_become_smaller(exported_model, tmp_path, name):
    source = exported_model(name)[1]
    paths = {bits: tmp_path / f"{bits}.onnx" for bits in (8, 16)}
    for bits, path in paths.items():
        store_weights(source, path=path, bits=bits)
        assert count_params(path) == count_params(source)
        assert loaded_operators(path, tmp_path) == loaded_operators(source, tmp_path)
    assert all(size_bytes(path) < size_bytes(source) for path in paths.values())


def test_a_recurrent_layer_keeps_its_answers(tmp_path):
    source = write(
        tmp_path / "float.onnx",
        [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=16, name="lstm")],
        [("x", FLOAT, [7, 2, 8])],
        ("y", FLOAT, 4),
        {"w": floats(1, 64, 8), "r": floats(1, 64, 16) * 0.1},
    )
    path = tmp_path / "stored.onnx"
    [note] = store_weights(source, path=path)
    assert note.startswith("stored in 8 bits and computed in float: 2 weights, moved by 0.")
    inputs = {"x": floats(7, 2, 8)}
    assert np.abs(answers(path, inputs) - answers(source, inputs)).max() < 0.05


@pytest.fixture
def two(tmp_path):
    return write(
        tmp_path / "float.onnx",
        [
            helper.make_node("MatMul", ["x", "first"], ["h"], name="one"),
            helper.make_node("Gemm", ["h", "second"], ["y"], name="two"),
        ],
        [("x", FLOAT, ["N", 20])],
        ("y", FLOAT, 2),
        {"first": floats(20, 20), "second": floats(20, 20)},
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_the_ledger_counts_what_is_computed(two, tmp_path, bits):
    path, inputs = tmp_path / "stored.onnx", {"x": floats(2, 20)}
    store_weights(two, path=path, bits=bits)
    assert count_params(path) == count_params(two) == 800
    assert count_macs(path, inputs) == count_macs(two, inputs)


@pytest.mark.parametrize(
    "options", [{"exclude": ["second"]}, {"exclude": ["tw*"]}, {"operators": ["MatMul"]}]
)
def test_what_is_left_out_stays_float(two, tmp_path, options):
    path = tmp_path / "stored.onnx"
    notes = store_weights(two, path=path, **options)
    names = {x.name: x.data_type for x in onnx.load(path).graph.initializer}
    assert names["first_stored"] == TensorProto.INT8
    assert names["second"] == FLOAT
    assert ("kept in float by 'exclude': two" in notes) is ("exclude" in options)


def test_what_half_precision_cannot_hold_stays_float(two, tmp_path):
    model = onnx.load(two)
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.full((20, 20), 1e5, np.float32), "first")
    )
    onnx.save(model, two)
    _, note = store_weights(two, path=tmp_path / "stored.onnx", bits=16)
    assert note == "left in float, as half precision can't hold them: first"
    assert np.isfinite(answers(tmp_path / "stored.onnx", {"x": floats(2, 20)})).all()


def test_a_model_without_a_large_weight_is_refused(tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    source = write(
        tmp_path / "float.onnx",
        [node],
        [("x", FLOAT, [2, 4])],
        ("y", FLOAT, 2),
        {"w": floats(4, 4)},
    )
    with pytest.raises(StageError, match=r"^nothing to store: no constant float weight is large"):
        store_weights(source, path=tmp_path / "stored.onnx")


def test_an_unknown_pattern_is_refused(two, tmp_path):
    with pytest.raises(StageError, match="node or weight"):
        store_weights(two, path=tmp_path / "stored.onnx", exclude=["third"])
