"""Recurrent layers are exported as ONNX's own operators, for any batch and length."""

import numpy as np
import pytest
import torch
from torch import nn

from compress.errors import StageError
from compress.exporting.parity.compare import module_answers
from compress.exporting.to_onnx import export_module
from compress.measurement.session import run, session
from compress.onnx_graph.files import load_graph
from compress.tasks.task import TASKS
from tests.exporting.recurrent_nets import NETS, TextNet, net, words

TEXT, IMAGE = TASKS["text-classification"], TASKS["image-classification"]


def exported(module, path, *, example=None, task=TEXT):
    return export_module(
        module, task=task, example=example or words(), path=path, labels=("a", "b")
    )


@pytest.mark.parametrize("name", NETS)
def test_a_recurrent_text_model_is_exported_right_every_time(name, tmp_path):
    """Twice in one process, after a run of the module, and from examples of other lengths."""
    module = net(name)
    module_answers(module, task=TEXT)(words())
    for number, length in enumerate((7, 4)):
        path = exported(module, tmp_path / f"{number}.onnx", example=words(2, length))
        opened = session(path, threads=1)
        for count, other in ((1, 1), (1, 3), (4, 17)):
            batch = words(count, other, padding=min(2, other - 1))
            wanted = module_answers(module, task=TEXT)(batch)
            np.testing.assert_allclose(run(opened, batch)["logits"], wanted, atol=1e-5)


def test_a_layer_is_one_operator_with_named_weights(tmp_path):
    name = "LSTM, two layers of both directions, first states"
    graph = load_graph(exported(net(name), tmp_path / "model.onnx"))
    read = [node.input[1:4] for node in graph.nodes if node.op_type == "LSTM"]
    assert [list(each) for each in read] == [
        [f"rnn.{kind}_l{layer}" for kind in "WRB"] for layer in (0, 1)
    ]
    assert tuple(graph.initializers["rnn.W_l0"].dims) == (2, 16, 6)
    assert not any(name.startswith("rnn.weight") for name in graph.initializers)


def test_the_module_itself_is_left_as_it_was(tmp_path):
    module = net("LSTM")
    exported(module, tmp_path / "model.onnx")
    assert not list(module.rnn.buffers())
    assert module.rnn.forward.__func__ is nn.LSTM.forward


class Sequences(nn.Module):
    """Sequences (N, C, L) as images; one sequence alone has no batch."""

    def __init__(self, alone):
        super().__init__()
        self.rnn, self.out, self.alone = nn.GRU(4, 5, num_layers=2), nn.Linear(5, 3), alone

    def forward(self, pixel_values):
        if self.alone:
            made, last = self.rnn(pixel_values.mean(0).transpose(0, 1))
            return self.out(last[-1] + made.sum(0)) + pixel_values.mean((1, 2)).unsqueeze(1)
        return self.out(self.rnn(pixel_values.permute(2, 0, 1))[1][-1])


@pytest.mark.parametrize("alone", [False, True])
def test_tensors_with_and_without_a_batch(alone, tmp_path):
    module, example = Sequences(alone).eval(), {"pixel_values": torch.randn(2, 4, 9)}
    path = exported(module, tmp_path / "model.onnx", example=example, task=IMAGE)
    batch = {"pixel_values": torch.randn(3, 4, 9)}
    wanted = module(batch["pixel_values"]).detach().numpy()
    np.testing.assert_allclose(run(session(path, threads=1), batch)["logits"], wanted, atol=1e-5)


class Packed(TextNet):
    def forward(self, input_ids, attention_mask):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(input_ids), attention_mask.sum(1), batch_first=True, enforce_sorted=False
        )
        return self.out(self.hidden(self.rnn(packed)[1].transpose(0, 1).flatten(1).repeat(1, 2)))


def test_packed_sequences_are_refused_with_the_way_out(tmp_path):
    module = Packed(nn.GRU, batch_first=True).eval()
    assert module(**words()).shape == (2, 2)
    said = r"^torch can't export Packed to ONNX: a GRU reads a packed sequence.*attention mask\.$"
    with pytest.raises(StageError, match=said):
        exported(module, tmp_path / "model.onnx")


def test_projected_states_are_refused_by_name(tmp_path):
    module = net("LSTM")
    module.rnn = nn.LSTM(6, 8, batch_first=True, proj_size=4)
    with pytest.raises(StageError, match=r"LSTM 'rnn' projects its states.*must be 0\. Got 4"):
        exported(module, tmp_path / "model.onnx")
