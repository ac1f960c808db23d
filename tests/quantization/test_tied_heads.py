"""A head that shares its weight with the embedding is quantized, and the file holds it once."""

import numpy as np
import onnxruntime as ort
import pytest

from compress.measurement.params import count_params
from compress.measurement.saturation import can_saturate
from compress.onnx_graph.files import load_graph
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.quantization.tied_heads import tie, tied_embeddings, tied_heads, untie
from tests.quantization.models import TIED_TOKENS, save_tied

IDS = np.arange(24, dtype=np.int64).reshape(2, 12)


@pytest.fixture
def source(tmp_path):
    return save_tied(tmp_path / "float.onnx")


def _answers(path):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"ids": IDS})[0]


def _quantized(source, tmp_path, *, per_channel=True, integers=None):
    untied = untie(source, tmp_path / "untied.onnx")
    selection = select(load_graph(untied), method="dynamic")
    embeddings = tied_embeddings(load_graph(source), selection.nodes)
    assert embeddings
    path = tmp_path / "int8.onnx"
    quantize_dynamic(
        untied,
        path=path,
        selection=selection.without(embeddings),
        integers=integers or Integers("uint8", "int8", reduce_range=True),
        per_channel=per_channel,
    )
    tie(path)
    return path


def test_a_head_with_a_weight_of_its_own_answers_the_same(source, tmp_path):
    [head] = tied_heads(load_graph(source))
    assert (head.table, head.matmuls, head.gathers) == ("table", ("head",), ("embedding",))
    untied = untie(source, tmp_path / "untied.onnx")
    assert tied_heads(load_graph(untied)) == []
    np.testing.assert_array_equal(_answers(untied), _answers(source))
    assert untie(untied, tmp_path / "again.onnx") == untied


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(
    "integers", [Integers("uint8", "int8", reduce_range=True), Integers("uint8", "uint8")]
)
def test_both_read_one_tensor_of_integers(source, tmp_path, per_channel, integers):
    path = _quantized(source, tmp_path, per_channel=per_channel, integers=integers)
    graph = load_graph(path)
    tables = [x for x in graph.initializers.values() if TIED_TOKENS in x.dims and len(x.dims) == 2]
    assert [x.name for x in tables] == ["table_quantized"]
    assert [node.op_type for node in graph.nodes].count("MatMulInteger") == 2
    assert count_params(path) == count_params(source)
    wanted, found = _answers(source), _answers(path)
    noise = np.square(found - wanted).mean() / np.square(wanted).mean()
    assert noise < (1e-3 if per_channel else 1e-2)


def test_the_rows_of_small_tokens_keep_their_accuracy(source, tmp_path):
    """One scale for the whole table would round away most of a small row."""
    graph = load_graph(_quantized(source, tmp_path))
    rows = graph.value("table_quantized") * graph.value("table_head_scale")[:, None]
    table = load_graph(source).value("table")
    worst = np.abs(rows - table).max(axis=1) / np.abs(table).max(axis=1)
    assert worst.max() < 0.01  # half a step of 63


def test_the_runtime_turns_the_integers_once(source, tmp_path):
    path = _quantized(source, tmp_path)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in load_graph(tmp_path / "loaded.onnx").nodes}
    assert "Transpose" not in kinds
    assert "DynamicQuantizeMatMul" in kinds


def test_weights_of_eight_full_bits_are_found_behind_the_transpose(source, tmp_path):
    path = _quantized(source, tmp_path, integers=Integers("uint8", "int8"))
    said = can_saturate(path, "x86-avx2")
    assert said is not None
    assert said.startswith("2 of 2 quantized weights")
    assert can_saturate(_quantized(source, tmp_path), "x86-avx2") is None


def test_a_head_or_an_embedding_in_float_leaves_them_tied(source, tmp_path):
    graph = load_graph(source)
    assert tied_embeddings(graph, ["embedding", "linear", "head"]) == ("embedding",)
    assert tied_embeddings(graph, ["embedding", "linear"]) == ()
    assert tied_embeddings(graph, ["linear", "head"]) == ()
    untied = untie(source, tmp_path / "untied.onnx")
    assert tied_embeddings(load_graph(untied), ["embedding", "linear", "head"]) == ()
