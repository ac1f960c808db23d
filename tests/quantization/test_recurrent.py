"""ONNX Runtime has an 8-bit LSTM of its own; other recurrent layers stay in float."""

import numpy as np
import onnx
import pytest

from compress.errors import StageError
from compress.exporting.to_onnx import export_module
from compress.measurement.params import count_params
from compress.measurement.session import run, session
from compress.onnx_graph.files import load_graph
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.tasks.task import TASKS
from tests.exporting.recurrent_nets import net, words

TEXT = TASKS["text-classification"]
LSTM, GRU = "LSTM, two layers of both directions, first states", "GRU, length first"


@pytest.fixture(scope="module")
def exported(exported_once):
    def of(name):
        def export(path):
            export_module(net(name), task=TEXT, example=words(), path=path, labels=("a", "b"))

        return exported_once(f"recurrent {name}", export)

    return of


def _kinds(path):
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("per_channel", [True, False])
def test_an_lstm_is_quantized_dynamically(exported, per_channel, tmp_path):
    source, path = exported(LSTM), tmp_path / "int8.onnx"
    chosen = select(load_graph(source), method="dynamic", per_channel=per_channel)
    assert "2 LSTM" in chosen.notes[0]
    integers = Integers(reduce_range=True)  # right on every CPU
    quantize_dynamic(
        source, path=path, selection=chosen, integers=integers, per_channel=per_channel
    )
    assert _kinds(path).count("DynamicQuantizeLSTM") == 2
    assert "LSTM" not in _kinds(path)
    assert count_params(path) == count_params(source)
    for count, length in ((1, 3), (5, 12)):
        batch = words(count, length)
        wanted, answer = (run(session(p, threads=1), batch)["logits"] for p in (source, path))
        assert np.abs(answer - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("name", "method", "said"),
    [
        (GRU, "dynamic", "kept in float: GRU rnn, as ONNX Runtime has no 8-bit GRU"),
        (LSTM, "static", "kept in float: LSTM rnn, as ONNX Runtime's 8-bit one takes its scales"),
        (LSTM, "dynamic_matmuls", "kept in float: LSTM rnn, as ONNX Runtime's 8-bit one takes"),
    ],
)
def test_what_stays_in_float_is_named(exported, name, method, said):
    chosen = select(load_graph(exported(name)), method=method)
    assert any(note.startswith(said) for note in chosen.notes)
    kinds = {node.name: node.op_type for node in load_graph(exported(name)).nodes}
    assert not {kinds[node] for node in chosen.nodes} & {"LSTM", "GRU"}
    assert chosen.nodes


def test_its_weights_name_it_in_exclude(exported):
    chosen = select(load_graph(exported(LSTM)), method="dynamic", exclude=["rnn.*"])
    assert "LSTM" not in chosen.notes[0]
    assert any("kept in float by 'exclude'" in note for note in chosen.notes)
    assert not any("8-bit one takes" in note for note in chosen.notes)


def test_as_an_operator_of_static_quantization_it_is_unknown(exported):
    with pytest.raises(StageError, match="unknown operator for static quantization 'LSTM'"):
        select(load_graph(exported(LSTM)), method="static", operators=["LSTM"])
