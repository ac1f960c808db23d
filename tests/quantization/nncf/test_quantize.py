"""NNCF's files are read by ONNX Runtime and OpenVINO, small, and near the float model."""

import numpy as np
import onnx
import pytest

from compress.errors import StageError
from compress.measurement.runtimes.openvino import OpenVinoModel
from compress.measurement.session import run, session
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.metadata import metadata_of
from compress.quantization.nncf import quantize as module
from compress.quantization.nncf.accuracy_control import Restoration
from compress.quantization.nncf.quantize import quantize_by_nncf
from tests.extras import needs_openvino
from tests.quantization.models import digits


def batches(count=32, size=8):
    images, _ = digits()
    return [{"pixel_values": images[at : at + size]} for at in range(0, count, size)]


@pytest.fixture(scope="module")
def made(cnn, tmp_path_factory):
    path = tmp_path_factory.mktemp("nncf") / "model.onnx"
    return path, quantize_by_nncf(cnn, path=path, batches=batches(), reduce_range=True)


def answers(path):
    images, _ = digits()
    return next(iter(run(session(path, threads=1), {"pixel_values": images[1400:]}).values()))


@needs_openvino
def test_both_runtimes_answer_nearly_as_the_float_model(cnn, made):
    path, _ = made
    images, _ = digits()
    wanted, got = answers(cnn), answers(path)
    assert np.mean(wanted.argmax(-1) == got.argmax(-1)) > 0.9
    there = OpenVinoModel(path, threads=1).answer({"pixel_values": images[1400:]})
    assert np.mean(there.argmax(-1) == got.argmax(-1)) > 0.99


@needs_openvino
def test_weights_are_integers_of_seven_bits_where_asked_for(cnn, made):
    path, notes = made
    integers = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in load_graph(path).tensors()
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1
    ]
    assert integers
    assert max(int(np.abs(each.astype(int)).max()) for each in integers) <= 64
    assert notes[0].endswith("in 8 bits, on 32 samples")
    assert metadata_of(path) == metadata_of(cnn)
    assert onnx.load(path).producer_name == "nncf"


@needs_openvino
def test_what_is_excluded_stays_in_float(cnn, tmp_path):
    first = next(node for node in load_graph(cnn).nodes if node.op_type == "Conv")
    path = tmp_path / "model.onnx"
    notes = quantize_by_nncf(cnn, path=path, batches=batches(), exclude=[first.name])
    graph = load_graph(path)
    kept = next(node for node in graph.nodes if node.name == first.name)
    assert graph.made_by(kept.input[1], "DequantizeLinear") is None
    assert f"kept in float by 'exclude': {first.name}" in notes
    with pytest.raises(StageError, match="nonsense"):
        quantize_by_nncf(cnn, path=path, batches=batches(), exclude=["nonsense*"])


@needs_openvino
def test_accuracy_control_returns_layers_until_the_loss_is_small(cnn, tmp_path):
    images, labels = digits()
    test, right = images[1400:], labels[1400:].numpy()
    whole = answers(cnn)

    def loss(path):
        found = next(iter(run(session(path, threads=1), {"pixel_values": test}).values()))
        tried.append(path)
        return float(np.abs(found - whole).max() / np.abs(whole).max())

    tried: list = []
    plain, controlled = tmp_path / "plain.onnx", tmp_path / "controlled.onnx"
    quantize_by_nncf(cnn, path=plain, batches=batches(), reduce_range=True)
    before = loss(plain)
    tried.clear()
    restoration = Restoration(loss, budget=before / 2, folder=tmp_path)
    notes = quantize_by_nncf(
        cnn, path=controlled, batches=batches(), reduce_range=True, restoration=restoration
    )
    assert not any(path.exists() for path in tried)
    assert notes[-1].startswith("accuracy control by NNCF")
    assert loss(controlled) <= before / 2
    assert np.mean(answers(controlled).argmax(-1) == right) > 0.9


@needs_openvino
def test_a_transformer_is_treated_as_one(transformer, tmp_path):
    graph = load_graph(transformer)
    assert module._is_transformer(graph)
    opened = session(transformer, threads=1)
    rng = np.random.default_rng(0)
    batch = {
        value.name: np.ones((4, 12), np.int64)
        if "mask" in value.name
        else np.zeros((4, 12), np.int64)
        if "type" in value.name
        else rng.integers(0, 200, (4, 12))
        for value in opened.get_inputs()
    }
    path = tmp_path / "model.onnx"
    quantize_by_nncf(transformer, path=path, batches=[batch], reduce_range=True)
    wanted, got = (
        next(iter(run(session(p, threads=1), batch).values())) for p in (transformer, path)
    )
    assert np.abs(wanted - got).max() < 0.2 * np.abs(wanted).max()


def test_it_says_what_to_install(cnn, tmp_path, monkeypatch):
    monkeypatch.setattr("compress.measurement.runtimes.names.find_spec", lambda name: None)
    wanted = r"needs openvino and nncf: pip install 'compress\[openvino\]'"
    with pytest.raises(StageError, match=wanted):
        quantize_by_nncf(cnn, path=tmp_path / "model.onnx", batches=batches())


@needs_openvino
def test_what_nncf_raises_is_a_stage_error(cnn, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyError("node 7")

    monkeypatch.setattr("nncf.quantize", fail)
    with pytest.raises(StageError, match="NNCF can't quantize this graph: KeyError: 'node 7'"):
        quantize_by_nncf(cnn, path=tmp_path / "model.onnx", batches=batches())
