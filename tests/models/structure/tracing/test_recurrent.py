"""Around a recurrent layer embeddings and heads are cut; its own states stay, with the reason."""

import pytest
import torch
from torch import nn

from compress.errors import StageError
from compress.exporting.to_onnx import export_module
from compress.measurement.macs.graph import count_macs
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import PythonSource
from compress.models.structure.cut import cut, mask
from compress.models.structure.tracing.trace import traced_groups
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune
from compress.tasks.task import task
from tests.exporting.recurrent_nets import NETS, TextNet, net, words

TEXT = task("text-classification")


@pytest.mark.parametrize("name", NETS)
def test_what_it_reads_and_what_reads_it_is_cut(name):
    module, batch = net(name), words(3, 6, padding=2)
    groups, notes = traced_groups(module, task=TEXT, inputs=batch)
    assert [group.name for group in groups] == ["embed", "hidden"]
    kind = type(module.rnn).__name__
    assert f"left alone, as {kind} rnn computes each of its states from all of them: rnn." in notes
    begun = "left alone, as a recurrent layer begins with them: begin."
    assert (begun in notes) == (module.begin is not None)
    units = [torch.tensor([0, 2]), torch.arange(5)]
    smaller = cut(module, groups, units)
    assert smaller.rnn.input_size == 4
    assert smaller.rnn.weight_ih_l0.shape[1] == smaller.embed.embedding_dim == 4
    with torch.no_grad():
        wanted = TEXT.logits(mask(module, groups, units), batch)
        torch.testing.assert_close(TEXT.logits(smaller, batch), wanted, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(wanted, TEXT.logits(module, batch), atol=1e-4)


def test_layers_one_after_another():
    """The second layer reads states, which stay; a linear layer between the two is cut."""
    torch.manual_seed(0)

    class Two(TextNet):
        def __init__(self):
            super().__init__(nn.LSTM, batch_first=True)
            self.between, self.second = nn.Linear(4, 8), nn.GRU(8, 3, batch_first=True)
            self.out = nn.Linear(3, 2)

        def forward(self, input_ids, attention_mask):
            states, _ = self.rnn(self.embed(input_ids))
            return self.out(self.second(self.between(states))[0].mean(1))

    module = Two().eval()
    batch = words()
    groups, notes = traced_groups(module, task=TEXT, inputs=batch)
    assert {group.name for group in groups} >= {"embed", "between"}
    assert any("GRU second computes" in note for note in notes)
    units = [torch.tensor([1]) for _ in groups]
    with torch.no_grad():
        wanted = TEXT.logits(mask(module, groups, units), batch)
    torch.testing.assert_close(TEXT.logits(cut(module, groups, units), words()).shape, wanted.shape)


def test_packed_sequences_are_refused():
    class Packed(TextNet):
        def forward(self, input_ids, attention_mask):
            packed = nn.utils.rnn.pack_padded_sequence(
                self.embed(input_ids), attention_mask.sum(1), batch_first=True, enforce_sorted=False
            )
            return self.out(self.rnn(packed)[1][0].repeat(1, 4))

    module = Packed(nn.GRU, batch_first=True).eval()
    with pytest.raises(StageError, match="GRU rnn reads a packed sequence"):
        traced_groups(module, task=TEXT, inputs=words())


@pytest.mark.parametrize(
    "name", ["LSTM, two layers of both directions, first states", "GRU, length first"]
)
def test_predicted_multiply_accumulates_are_those_of_the_graph(name, tmp_path):
    module, batch = net(name), words(1, 9)
    made = prune(
        module,
        CutOptions(target=Target(macs=0.85), round_to=1),
        example_inputs=batch,
        task=TEXT,
    )
    path = tmp_path / "model.onnx"
    export_module(made.module, task=TEXT, example=batch, path=path, labels=("a", "b"))
    arrays = {name: values.numpy() for name, values in batch.items()}
    assert count_macs(path, arrays) == (made.after.macs, ())
    assert made.after.macs == pytest.approx(0.85 * made.before.macs, rel=0.02)


def test_a_cut_one_is_loaded_again(tmp_path):
    source = PythonSource("tests.exporting.recurrent_nets:net", {"name": "GRU, length first"})
    module = source.build()
    groups, _ = traced_groups(module, task=TEXT, inputs=words())
    smaller = cut(module, groups, [torch.tensor([0, 5]), torch.tensor([3])])
    save_checkpoint(smaller, source, tmp_path)
    again, _ = load_checkpoint(tmp_path)
    batch = words(3, 11)
    with torch.no_grad():
        assert torch.equal(TEXT.logits(again, batch), TEXT.logits(smaller, batch))
