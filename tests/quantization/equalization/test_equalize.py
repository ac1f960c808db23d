"""Ranges shared out between neighbouring layers, on graphs written by hand."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from compress.errors import StageError
from compress.measurement.session import run, session
from compress.quantization.equalization.equalize import equalize


def _write(path, nodes, weights, *, outputs=("y",), rank=4):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 6, 6])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [*"abcd"[:rank]])
            for name in outputs
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def _weights(seed=0, spread=3.0):
    """Two convolutions, the first over 4 channels to 6, the second depthwise or to 3."""
    draw = np.random.default_rng(seed)
    scales = np.exp(draw.uniform(-spread, spread, 6)).astype(np.float32)
    return {
        "w1": draw.standard_normal((6, 4, 3, 3)).astype(np.float32) * scales[:, None, None, None],
        "b1": draw.standard_normal(6).astype(np.float32) * scales,
        "w2": draw.standard_normal((3, 6, 1, 1)).astype(np.float32),
        "depthwise": draw.standard_normal((6, 1, 3, 3)).astype(np.float32),
        "grouped": draw.standard_normal((4, 3, 1, 1)).astype(np.float32),
        "low": np.float32(0),
        "six": np.float32(6),
    }


def _conv(given, weight, made, **attributes):
    return helper.make_node("Conv", [given, *weight], [made], name=f"conv_{made}", **attributes)


def _two(between=(), second=("w2",), **attributes):
    nodes = [_conv("x", ("w1", "b1"), "t0")]
    for index, (kind, *more) in enumerate(between):
        nodes.append(
            helper.make_node(kind, [f"t{index}", *more], [f"t{index + 1}"], name=f"mid_{index}")
        )
    return [*nodes, _conv(f"t{len(between)}", second, "y", **attributes)]


def _answer(path, seed=1):
    x = np.random.default_rng(seed).standard_normal((5, 4, 6, 6)).astype(np.float32)
    return run(session(path, threads=1), {"x": x})


def _same(one, other):
    for name, wanted in _answer(one).items():
        got = _answer(other)[name]
        np.testing.assert_allclose(got, wanted, atol=2e-5 * np.abs(wanted).max())


def _arrays(path):
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10000), spread=st.floats(0, 6))
def test_answers_stay_and_both_layers_get_the_same_ranges(tmp_path_factory, seed, spread):
    folder = tmp_path_factory.mktemp("equal")
    source = _write(folder / "a.onnx", _two([("Relu",)]), _weights(seed, spread))
    (note,) = equalize(source, path=folder / "b.onnx")
    assert "1 pairs" in note
    _same(source, folder / "b.onnx")
    found = _arrays(folder / "b.onnx")
    made = np.abs(found["w1"]).max((1, 2, 3))
    np.testing.assert_allclose(made, np.abs(found["w2"]).max((0, 2, 3)), rtol=1e-3)


@pytest.mark.parametrize(
    ("second", "attributes"),
    [(("depthwise",), {"group": 6, "pads": [1, 1, 1, 1]}), (("grouped",), {"group": 2})],
)
def test_groups_are_scaled_channel_by_channel(tmp_path, second, attributes):
    source = _write(tmp_path / "a.onnx", _two([("Relu",)], second, **attributes), _weights())
    equalize(source, path=tmp_path / "b.onnx")
    _same(source, tmp_path / "b.onnx")
    assert not np.allclose(_arrays(tmp_path / "b.onnx")[second[0]], _weights()[second[0]])


def test_three_layers_in_a_row_settle(tmp_path):
    nodes = [
        _conv("x", ("w1", "b1"), "t0"),
        helper.make_node("Relu", ["t0"], ["t1"], name="relu"),
        _conv("t1", ("depthwise",), "t2", group=6, pads=[1, 1, 1, 1]),
        _conv("t2", ("w2",), "y"),
    ]
    source = _write(tmp_path / "a.onnx", nodes, _weights())
    equalize(source, path=tmp_path / "b.onnx")
    _same(source, tmp_path / "b.onnx")
    found = _arrays(tmp_path / "b.onnx")
    depthwise = np.abs(found["depthwise"]).max((1, 2, 3))
    np.testing.assert_allclose(np.abs(found["w1"]).max((1, 2, 3)), depthwise, rtol=1e-2)
    np.testing.assert_allclose(np.abs(found["w2"]).max((0, 2, 3)), depthwise, rtol=1e-2)


@pytest.mark.parametrize("between", [[("Sigmoid",)], [("Relu",), ("Erf",)]])
def test_what_scales_do_not_pass_is_left_alone(tmp_path, between):
    source = _write(tmp_path / "a.onnx", _two(between), _weights())
    (note,) = equalize(source, path=tmp_path / "b.onnx")
    assert "only reader" in note
    for name, array in _arrays(tmp_path / "b.onnx").items():
        np.testing.assert_array_equal(array, _weights()[name])


@pytest.mark.parametrize("reader", ["a second one", "the graph"])
def test_a_tensor_with_another_reader_is_left_alone(tmp_path, reader):
    nodes, outputs = _two([("Relu",)]), ["y", "z"]
    if reader == "the graph":
        outputs = ["y", "t1"]
    else:
        nodes.append(helper.make_node("Neg", ["t1"], ["z"], name="neg"))
    source = _write(tmp_path / "a.onnx", nodes, _weights(), outputs=outputs)
    assert "only reader" in equalize(source, path=tmp_path / "b.onnx")[0]
    _same(source, tmp_path / "b.onnx")


def test_a_weight_of_two_layers_is_left_alone(tmp_path):
    nodes = [
        _conv("x", ("w1", "b1"), "t0"),
        _conv("x", ("w1", "b1"), "t1"),
        _conv("t0", ("w2",), "y"),
        _conv("t1", ("grouped",), "z", group=2),
    ]
    source = _write(tmp_path / "a.onnx", nodes, _weights(), outputs=["y", "z"])
    assert "only reader" in equalize(source, path=tmp_path / "b.onnx")[0]


RELU6 = [("Clip", "low", "six")]


def test_a_clip_is_left_alone_without_samples(tmp_path):
    source = _write(tmp_path / "a.onnx", _two(RELU6), _weights())
    (note,) = equalize(source, path=tmp_path / "b.onnx")
    assert "1 pairs left alone" in note
    np.testing.assert_array_equal(_arrays(tmp_path / "b.onnx")["w1"], _weights()["w1"])


def test_channels_under_the_bound_are_scaled_and_others_are_not(tmp_path):
    weights = _weights(spread=4.0)
    source = _write(tmp_path / "a.onnx", _two(RELU6), weights)
    x = np.random.default_rng(1).standard_normal((5, 4, 6, 6)).astype(np.float32)
    equalize(source, path=tmp_path / "b.onnx", batches=[{"x": x}])
    _same(source, tmp_path / "b.onnx")
    before = _write(tmp_path / "c.onnx", _two([])[:1], weights, outputs=["t0"])
    largest = _answer(before)["t0"].max((0, 2, 3))
    same = (_arrays(tmp_path / "b.onnx")["w1"] == weights["w1"]).all((1, 2, 3))
    assert same.any()
    assert not same.all()
    np.testing.assert_array_equal(same, largest * 1.25 >= 6)


def test_a_clip_made_relu_is_told(tmp_path):
    source = _write(tmp_path / "a.onnx", _two(RELU6), _weights())
    notes = equalize(source, path=tmp_path / "b.onnx", replace_clip=True)
    assert any("1 Clip replaced by Relu" in note for note in notes)
    relu = _write(tmp_path / "c.onnx", _two([("Relu",)]), _weights())
    _same(relu, tmp_path / "b.onnx")


def test_values_that_are_not_finite_are_refused(tmp_path):
    source = _write(tmp_path / "a.onnx", _two(RELU6), _weights())
    broken = {"x": np.full((1, 4, 6, 6), np.nan, np.float32)}
    with pytest.raises(StageError, match="isn't finite"):
        equalize(source, path=tmp_path / "b.onnx", batches=[broken])


def test_dead_channels_stay_as_they_are(tmp_path):
    weights = _weights()
    weights["w1"][2] = 0
    weights["w2"][:, 4] = 0
    source = _write(tmp_path / "a.onnx", _two([("Relu",)]), weights)
    equalize(source, path=tmp_path / "b.onnx")
    _same(source, tmp_path / "b.onnx")
    found = _arrays(tmp_path / "b.onnx")
    np.testing.assert_array_equal(found["w1"][[2, 4]], weights["w1"][[2, 4]])


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_gemm_after_a_gemm(tmp_path, transposed):
    draw = np.random.default_rng(0)
    shapes = [(5, 4), (3, 5)] if transposed else [(4, 5), (5, 3)]
    w1, w2 = (draw.standard_normal(shape).astype(np.float32) for shape in shapes)
    w1 *= np.exp(draw.uniform(-3, 3, 5)).astype(np.float32).reshape((5, 1) if transposed else (5,))
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w1", "b"], ["t"], name="g1", transB=transposed),
        helper.make_node("Relu", ["t"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2"], ["y"], name="g2", transB=transposed),
    ]
    weights = {"w1": w1, "w2": w2, "b": draw.standard_normal(5).astype(np.float32)}
    source = _write(tmp_path / "a.onnx", nodes, weights, rank=2)
    equalize(source, path=tmp_path / "b.onnx")
    _same(source, tmp_path / "b.onnx")
    found = _arrays(tmp_path / "b.onnx")
    made = np.abs(found["w1"]).max(1 if transposed else 0)
    np.testing.assert_allclose(made, np.abs(found["w2"]).max(0 if transposed else 1), rtol=1e-3)
