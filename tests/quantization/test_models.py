"""Whole quantized models: their operators, types, sizes and answers."""

from collections import Counter

import numpy as np
import onnx
import pytest

from compress.measurement.cpu import SATURATING
from compress.measurement.saturation import can_saturate
from compress.measurement.session import run, session
from compress.onnx_graph.files import load_graph
from compress.quantization.calibration.observe import observe
from compress.quantization.cpu import integers_for
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.quantization.static import activations, quantize_static
from tests.quantization.models import digits, exact_answers, texts

FULL = Integers()
SEVEN_BITS = Integers(reduce_range=True)


def _static(
    source, path, batches, *, method="minmax", cpu=FULL, per_channel=True, quant_format="qdq"
):
    selection = select(load_graph(source), method="static")
    tensors = activations(load_graph(source), selection)
    observed = observe(source, tensors, batches=batches, methods=[method])
    return quantize_static(
        source,
        path=path,
        selection=selection,
        ranges=observed.ranges(method, integers=cpu),
        integers=cpu,
        per_channel=per_channel,
        quant_format=quant_format,
    )


def _dynamic(source, path, *, cpu=FULL, per_channel=True, **selection):
    return quantize_dynamic(
        source,
        path=path,
        selection=select(load_graph(source), method="dynamic", **selection),
        integers=cpu,
        per_channel=per_channel,
    )


def _calibration():
    images, _ = digits()
    return [{"pixel_values": part} for part in images[:64].split(16)]


def _scores(path, batch):
    return run(session(path, threads=1), batch)["logits"]


def _step(path):
    """Of the logits, which are in 8 bits."""
    return float(_initializers(path)["logits_scale"])


def _kinds(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def _initializers(path):
    return {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("method", ["minmax", "moving_average", "percentile", "entropy", "mse"])
def test_a_static_cnn_answers_as_the_float_one(cnn, tmp_path, method):
    path = _static(cnn, tmp_path / "int8.onnx", _calibration(), method=method)
    images, labels = digits()
    test = {"pixel_values": images[1400:]}
    before, after = _scores(cnn, test).argmax(-1), exact_answers(path, test).argmax(-1)
    assert (before == after).mean() > 0.95
    right = [(answers == labels[1400:].numpy()).mean() for answers in (before, after)]
    assert right[0] > 0.85
    assert right[1] > right[0] - 0.03
    assert path.stat().st_size < 0.8 * cnn.stat().st_size


def test_entropy_writes_another_model_than_minmax(cnn, tmp_path):
    scales = [
        {name: v for name, v in _initializers(path).items() if name.endswith("_scale")}
        for path in (
            _static(cnn, tmp_path / f"{method}.onnx", _calibration(), method=method)
            for method in ("minmax", "entropy")
        )
    ]
    assert scales[0].keys() == scales[1].keys()
    assert any((scales[1][name] < 0.98 * value).any() for name, value in scales[0].items())


def test_a_static_cnn_has_unsigned_activations_and_signed_weights(cnn, tmp_path):
    path = _static(cnn, tmp_path / "int8.onnx", _calibration())
    values = _initializers(path)
    graph = onnx.load(path).graph
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            assert values[node.input[2]].dtype == np.uint8
    weights = {name: v for name, v in values.items() if name.endswith(".weight_quantized")}
    assert len(weights) == 7
    assert all(array.dtype == np.int8 for array in weights.values())
    for name in weights:
        zero = values[name.replace("_quantized", "_zero_point")]
        assert not zero.any()
        if "conv" in name:
            assert zero.shape == weights[name].shape[:1]


def test_the_whole_cnn_stays_in_8_bits(cnn, tmp_path):
    """Every input of a convolution, a residual sum and the last product is dequantized for it."""
    path = _static(cnn, tmp_path / "int8.onnx", _calibration())
    graph = onnx.load(path).graph
    assert "Relu" not in _kinds(path)
    maker = {name: node.op_type for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in ("Conv", "Add", "Gemm"):
            assert {maker[name] for name in node.input} == {"DequantizeLinear"}, node.name


def test_one_scale_for_all_channels(cnn, tmp_path):
    path = _static(cnn, tmp_path / "int8.onnx", _calibration(), per_channel=False)
    values = _initializers(path)
    scales = [v for name, v in values.items() if name.endswith(".weight_scale")]
    assert len(scales) == 7
    assert all(scale.size == 1 for scale in scales)


def test_seven_bits_where_the_cpu_would_saturate(cnn, transformer, tmp_path):
    static = _static(cnn, tmp_path / "cnn.onnx", _calibration(), cpu=SEVEN_BITS)
    dynamic = _dynamic(transformer, tmp_path / "bert.onnx", cpu=SEVEN_BITS)
    for path in (static, dynamic):
        weights = [v for n, v in _initializers(path).items() if v.dtype == np.int8 and v.ndim > 1]
        assert weights
        assert max(np.abs(array.astype(int)).max() for array in weights) <= 64
    full = _dynamic(transformer, tmp_path / "full.onnx")
    assert (
        max(np.abs(v.astype(int)).max() for v in _initializers(full).values() if v.dtype == np.int8)
        > 64
    )


def test_a_dynamic_transformer(transformer, tmp_path):
    path = _dynamic(transformer, tmp_path / "int8.onnx")
    kinds = _kinds(path)
    assert kinds["MatMulInteger"] == 2 * 6 + 2
    assert kinds["MatMul"] == 2 * 2
    assert kinds["Gemm"] == 0
    assert path.stat().st_size < 0.5 * transformer.stat().st_size
    batch = texts(40, 12)
    before, after = _scores(transformer, batch), exact_answers(path, batch)
    assert np.abs(before - after).max() < 0.15 * np.abs(before).max()
    assert (before.argmax(-1) == after.argmax(-1)).mean() > 0.9


def test_a_static_transformer_keeps_its_attention_in_float(transformer, tmp_path):
    path = _static(transformer, tmp_path / "int8.onnx", [texts(8, 12) for _ in range(3)])
    graph = onnx.load(path).graph
    maker = {name: node.op_type for node in graph.node for name in node.output}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    quantized = [n for n in products if maker.get(n.input[1]) == "DequantizeLinear"]
    assert len(quantized) == 2 * 6
    for node in graph.node:
        if node.op_type == "Softmax":
            assert maker[node.input[0]] != "DequantizeLinear"
    batch = texts(40, 12)
    before, after = _scores(transformer, batch), exact_answers(path, batch)
    assert (before.argmax(-1) == after.argmax(-1)).mean() > 0.85


@pytest.mark.parametrize("pattern", ["classifier.*", "*.query.*"])
def test_excluded_weights_stay_in_float(transformer, tmp_path, pattern):
    path = _dynamic(transformer, tmp_path / "int8.onnx", exclude=[pattern])
    floats = {name for name, v in _initializers(path).items() if v.dtype == np.float32}
    key = pattern.replace("*", "")
    assert any(key in name and "weight" in name and "quantized" not in name for name in floats)
    left_out = 1 if pattern == "classifier.*" else 2
    assert _kinds(path)["MatMulInteger"] == 2 * 6 + 2 - left_out


@pytest.mark.parametrize("kind", ["static", "dynamic"])
def test_the_source_stays_and_the_metadata_come_along(
    cnn, transformer, tmp_path, tmp_path_factory, kind, capfd
):
    # The folder of exports belongs to all processes of a test run.
    source = tmp_path / "float.onnx"
    source.write_bytes((cnn if kind == "static" else transformer).read_bytes())
    before, beside = source.read_bytes(), sorted(source.parent.iterdir())
    paths = []
    made = tmp_path_factory.mktemp("made")
    for name in ("a", "b"):
        path = made / name / "int8.onnx"
        if kind == "static":
            paths.append(_static(source, path, _calibration()))
        else:
            paths.append(_dynamic(source, path))
    assert source.read_bytes() == before
    assert sorted(source.parent.iterdir()) == beside
    assert paths[0].read_bytes() == paths[1].read_bytes()
    metadata = [
        {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        for path in (source, paths[0])
    ]
    assert metadata[0] == metadata[1]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("integers", "activations_are", "weights_are"),
    [
        (Integers("uint8", "int8"), np.uint8, np.int8),
        (Integers("uint8", "uint8"), np.uint8, np.uint8),
        (Integers("int8", "int8"), np.int8, np.int8),
    ],
    ids=str,
)
def test_integers_are_those_asked_for(cnn, tmp_path, integers, activations_are, weights_are):
    path = _static(cnn, tmp_path / "int8.onnx", _calibration(), cpu=integers)
    values = _initializers(path)
    for node in onnx.load(path).graph.node:
        if node.op_type == "QuantizeLinear":
            zero = values[node.input[2]]
            assert zero.dtype == activations_are
            assert activations_are == np.uint8 or not zero.any()
    weights = [v for name, v in values.items() if name.endswith(".weight_quantized")]
    assert {array.dtype for array in weights} == {np.dtype(weights_are)}
    images, _ = digits()
    test = {"pixel_values": images[1400:]}
    before, after = _scores(cnn, test).argmax(-1), exact_answers(path, test).argmax(-1)
    assert (before == after).mean() > 0.95


@pytest.mark.parametrize("quant_format", ["qdq", "qoperator"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_what_suits_a_saturating_cpu_answers_as_the_float_one(
    cnn, tmp_path, quant_format, per_channel
):
    """As a run measures it, on whatever CPU this is."""
    images, _ = digits()
    test = {"pixel_values": images[1400:]}
    before = _scores(cnn, test).argmax(-1)
    for cpu in sorted(SATURATING):
        for integers in integers_for(cpu, method="static"):
            path = tmp_path / f"{cpu} {integers}.onnx"
            fields = {"cpu": integers, "quant_format": quant_format, "per_channel": per_channel}
            _static(cnn, path, _calibration(), **fields)
            assert can_saturate(path, cpu) is None
            assert (before == _scores(path, test).argmax(-1)).mean() > 0.97
            np.testing.assert_allclose(
                _scores(path, test), exact_answers(path, test), atol=3 * _step(path)
            )


def test_the_operator_form_answers_as_the_qdq_form(cnn, tmp_path):
    qdq = _static(cnn, tmp_path / "qdq.onnx", _calibration())
    operators = _static(cnn, tmp_path / "op.onnx", _calibration(), quant_format="qoperator")
    assert _kinds(operators)["QLinearConv"] == _kinds(cnn)["Conv"]
    assert _kinds(operators)["DequantizeLinear"] < _kinds(qdq)["DequantizeLinear"]
    images, _ = digits()
    test = {"pixel_values": images[1400:]}
    same = exact_answers(qdq, test).argmax(-1) == exact_answers(operators, test).argmax(-1)
    assert same.mean() > 0.97
