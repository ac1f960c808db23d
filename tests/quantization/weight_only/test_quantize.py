from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from compress.errors import StageError
from compress.measurement.macs.graph import count_macs
from compress.measurement.params import count_params
from compress.measurement.session import run, session
from compress.measurement.size import size_bytes
from compress.quantization.weight_only.blocks import quantize_blocks
from compress.quantization.weight_only.graph import WeightOnly
from compress.quantization.weight_only.quantize import quantize_weights
from tests.exporting.samples import texts
from tests.quantization.weight_only.models import every_form

MODELS = ("llama", "gpt2", "bert")


@pytest.fixture(scope="module")
def files(exported_model, tmp_path_factory):
    """Of matrices a tenth as large, whose rounding moves the answers little."""
    folder = tmp_path_factory.mktemp("weights")
    for name in MODELS:
        model = onnx.load(exported_model(name)[1])
        for tensor in model.graph.initializer:
            if len(tensor.dims) == 2 and tensor.data_type == onnx.TensorProto.FLOAT:
                values = numpy_helper.to_array(tensor) * np.float32(0.1)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(model, folder / f"{name}.onnx")
    return {name: folder / f"{name}.onnx" for name in MODELS}


def batch():
    torch.manual_seed(0)
    return texts()


def answers(path, inputs):
    return next(iter(run(session(path, threads=1), inputs).values()))


def far(path, other, inputs):
    wanted, got = answers(path, inputs), answers(other, inputs)
    return float(np.abs(wanted - got).max() / np.abs(wanted).max())


def rounded(source, path, options):
    """The float graph with every two-dimensional weight rounded beforehand."""
    model = onnx.load(source)
    products = {name for n in model.graph.node if n.op_type == "MatMul" for name in n.input}
    products |= {
        n.input[1]
        for n in model.graph.node
        if n.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in n.attribute)
    }
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2 and tensor.data_type == onnx.TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            turned = tensor.name in products
            found = quantize_blocks(
                np.ascontiguousarray(array.T) if turned else array,
                bits=options.bits,
                block_size=options.block_size,
                symmetric=options.symmetric,
            ).weight()
            tensor.CopyFrom(
                numpy_helper.from_array(
                    np.ascontiguousarray(found.T) if turned else found, tensor.name
                )
            )
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", MODELS)
def test_it_answers_as_the_float_graph_with_rounded_weights(files, name, bits, symmetric, tmp_path):
    options = WeightOnly(bits=bits, symmetric=symmetric, accuracy_level=1)
    path = tmp_path / "weights.onnx"
    notes = quantize_weights(files[name], path=path, options=options)
    assert notes[0].startswith("quantized: ")
    assert far(rounded(files[name], tmp_path / "rounded.onnx", options), path, batch()) < 1e-5
    assert 0 < far(files[name], path, batch()) < (0.02 if bits == 8 else 0.35)


@pytest.mark.parametrize("name", MODELS)
def test_rounding_activations_too_moves_answers_little(files, name, tmp_path):
    exact, fast = tmp_path / "exact.onnx", tmp_path / "fast.onnx"
    quantize_weights(files[name], path=exact, options=WeightOnly(bits=8, accuracy_level=1))
    quantize_weights(files[name], path=fast, options=WeightOnly(bits=8, accuracy_level=4))
    assert 0 < far(exact, fast, batch()) < 0.03


@pytest.mark.parametrize("options", [WeightOnly(), WeightOnly(bits=8, block_size=16)])
@pytest.mark.parametrize("name", MODELS)
def test_params_and_macs_stay_in_fewer_bytes(files, name, options, tmp_path):
    source, path = files[name], tmp_path / "weights.onnx"
    quantize_weights(source, path=path, options=options)
    inputs = {key: value.numpy() for key, value in batch().items()}
    assert count_params(path) == count_params(source)
    assert count_macs(path, inputs) == count_macs(source, inputs)
    assert size_bytes(path) < size_bytes(source)


@pytest.mark.parametrize("bits", [8, 4])
def test_every_form_of_a_weight(bits, tmp_path):
    source = every_form(tmp_path / "forms.onnx")
    path = tmp_path / "weights.onnx"
    options = WeightOnly(bits=bits, block_size=16, accuracy_level=1)
    notes = quantize_weights(source, path=path, options=options)
    assert notes[0] == "quantized: 1 Gather, 2 Gemm, 1 MatMul"
    assert notes[2] == "left in float: gemm_scaled (a Gemm with transA, alpha or beta)"
    assert far(source, path, {"ids": np.arange(20)}) < (0.02 if bits == 8 else 0.3)
    graph = onnx.load(path).graph
    kinds = [node.op_type for node in graph.node]
    assert "Transpose" not in kinds
    assert kinds.count("MatMulNBits") == 3
    stored = {t.name: len(t.raw_data) for t in graph.initializer}
    table = (f"table_Q{bits}", "table_scales", "table_zero_points")  # of 20 x 48, both uses
    assert [stored[name] for name in table] == [
        20 * 6 * bits,
        20 * 3 * 4,
        20 * (2 if bits == 4 else 3),
    ]
    assert stored[f"turned_Q{bits}"] == 48 * 2 * 2 * bits  # 48 x 24: the second block half filled
    assert sum(name.endswith(f"_Q{bits}") for name in stored) == 3
    assert count_params(path) == count_params(source)


def test_an_embedding_of_an_odd_width_stays_in_float_with_4_bits(tmp_path):
    source = every_form(tmp_path / "forms.onnx", width=33)
    notes = quantize_weights(source, path=tmp_path / "4.onnx")
    assert "embed (an embedding of an odd width)" in notes[2]
    assert far(source, tmp_path / "4.onnx", {"ids": np.arange(20)}) < 0.3
    quantize_weights(source, path=tmp_path / "8.onnx", options=WeightOnly(bits=8))
    assert far(source, tmp_path / "8.onnx", {"ids": np.arange(20)}) < 0.02


def test_names_and_metadata_are_kept(files, tmp_path):
    path = tmp_path / "weights.onnx"
    quantize_weights(files["bert"], path=path)
    before, after = onnx.load(files["bert"]), onnx.load(path)
    assert after.metadata_props == before.metadata_props
    assert {n.name for n in before.graph.node} <= {n.name for n in after.graph.node}
    assert after.graph.input == before.graph.input
    assert after.graph.output == before.graph.output


def test_excluded_weights_stay_and_a_second_call_gives_them_other_bits(files, tmp_path):
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    notes = quantize_weights(files["bert"], path=first, exclude=("*embeddings*", "classifier.*"))
    assert sum(note.startswith("kept in float by 'exclude': ") for note in notes) == 1
    kept = {t.name for t in onnx.load(first).graph.initializer}
    assert {"bert.embeddings.word_embeddings.weight", "classifier.weight"} <= kept
    quantize_weights(first, path=second, options=WeightOnly(bits=8))
    bits = [
        a.i for n in onnx.load(second).graph.node for a in n.attribute
        if n.domain == "com.microsoft" and a.name == "bits"
    ]  # fmt: skip
    assert set(bits) == {4, 8}
    assert far(first, second, batch()) < 0.02
    assert count_params(second) == count_params(files["bert"])


def test_what_fits_nothing_is_refused(files, tmp_path):
    with pytest.raises(StageError, match=r"unknown node or weight 'no\.such'"):
        quantize_weights(files["bert"], path=tmp_path / "x.onnx", exclude=("no.such",))
    with pytest.raises(StageError, match="nothing to quantize"):
        quantize_weights(files["bert"], path=tmp_path / "x.onnx", exclude=("*",))
    assert not Path(tmp_path / "x.onnx").exists()


def test_large_weights_go_into_a_file_of_their_own(files, tmp_path, monkeypatch):
    whole, apart = tmp_path / "whole.onnx", tmp_path / "apart.onnx"
    quantize_weights(files["gpt2"], path=whole)
    monkeypatch.setattr("compress.onnx_graph.files.SINGLE_FILE_BYTES", 1000)
    for _ in range(2):  # the second replaces the first
        quantize_weights(files["gpt2"], path=apart)
    assert sorted(p.name for p in tmp_path.glob("apart*")) == ["apart.onnx", "apart.onnx.data"]
    assert apart.stat().st_size < whole.stat().st_size < size_bytes(apart) + 100_000
    inputs = batch()
    assert (answers(whole, inputs) == answers(apart, inputs)).all()
    assert count_params(apart) == count_params(whole)
