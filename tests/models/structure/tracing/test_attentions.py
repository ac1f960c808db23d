"""Heads and neurons of torch's own transformer layers are cut like those of described families."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from compress.errors import StageError
from compress.exporting.to_onnx import export_module
from compress.measurement.macs.graph import count_macs
from compress.measurement.session import run, session
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.low_rank import fill, put_low_rank
from compress.models.source import PythonSource
from compress.models.structure.attention import FewerHeads, heads_apart
from compress.models.structure.cut import cut, mask
from compress.models.structure.find import find_groups
from compress.models.structure.tracing.trace import traced_groups
from compress.pruning.cost.model import CostModel, count_cost
from compress.pruning.importance.activations import activation
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune
from tests.models.structure.attention_models import CLASSES, IMAGES, MADE, Patches, attentive

GIVEN = {"pixel_values": torch.rand(2, 1, 8, 8)}


def some_of(groups):
    torch.manual_seed(1)
    return [torch.randperm(g.units)[: max(1, g.units // 3 + i % 2)] for i, g in enumerate(groups)]


def found(name, **options):
    """A module, what it is run with, its groups, and which of their units go."""
    module, inputs, task = attentive(name, **options)
    groups, _ = traced_groups(module, task=task, inputs=inputs)
    return module, inputs, task, groups, some_of(groups)


def without_dropout(module):
    """A copy in training mode that answers the same every time."""
    trained = copy.deepcopy(module).train()
    for part in trained.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
        if isinstance(part, nn.MultiheadAttention):
            part.dropout = 0.0
    return trained


@pytest.mark.parametrize("name", MADE)
def test_cutting_is_masking_in_torchs_fused_path_and_in_training(name):
    module, inputs, task, groups, gone = found(name)
    kinds = {group.kind for group in groups}
    assert kinds == ({"heads"} if "apart" in name else {"heads", "feed_forward"})
    smaller, masked = cut(module, groups, gone), mask(module, groups, gone)
    with torch.no_grad():
        wanted, answer = task.logits(masked, inputs), task.logits(smaller, inputs)
        original = task.logits(module, inputs)
    scale = wanted.abs().max()
    assert (answer - wanted).abs().max() <= 1e-4 * scale
    assert (original - wanted).abs().max() > 1e-3 * scale
    slow = task.logits(smaller, inputs)
    trained = task.logits(without_dropout(smaller), inputs)
    for other in (slow, trained, task.logits(without_dropout(masked), inputs)):
        assert (other - wanted).abs().max() <= 1e-4 * scale
    trained.sum().backward()
    task.logits(smaller.train(), inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in smaller.parameters())


@pytest.mark.parametrize("name", MADE)
def test_the_cut_costs_what_was_foretold(name):
    module, inputs, task, groups, gone = found(name)
    single = {key: value[:1] for key, value in inputs.items()}
    model = CostModel(module, groups, task=task, inputs=single)
    smaller = cut(module, groups, gone)
    after = count_cost(smaller, task=task, inputs=single)
    assert model.predict([len(units) for units in gone]) == after
    assert after.macs < model.total.macs
    heads = next(group for group in groups if group.kind == "heads")
    left = smaller.get_submodule(heads.name)
    assert isinstance(left, FewerHeads)
    assert left.num_heads < module.get_submodule(heads.name).num_heads
    assert left.out_proj.in_features == left.num_heads * left.head_dim
    assert left.out_proj.out_features == left.embed_dim


@pytest.mark.parametrize("name", MADE)
def test_a_checkpoint_brings_the_cut_module_back_and_it_is_cut_again(name, tmp_path):
    module, inputs, task, groups, gone = found(name)
    smaller = cut(module, groups, gone)
    source = PythonSource(f"{attentive.__module__}:made", {"name": name})
    save_checkpoint(smaller, source, tmp_path)
    again, _ = load_checkpoint(tmp_path)
    with torch.no_grad():
        wanted = task.logits(smaller, inputs)
        torch.testing.assert_close(task.logits(again, inputs), wanted, rtol=0, atol=0)
    left, _ = traced_groups(again, task=task, inputs=inputs)
    units = [group.units - len(own) for group, own in zip(groups, gone, strict=True)]
    assert [group.units for group in left] == units
    last = [torch.arange(1 if group.units > 1 else 0) for group in left]
    with torch.no_grad():
        answer = task.logits(cut(again, left, last), inputs)
        masked = task.logits(mask(again, left, last), inputs)
    assert (answer - masked).abs().max() <= 1e-4 * masked.abs().max()


@pytest.mark.parametrize(
    ("name", "options"),
    [("encoder", {"layers": 1}), ("padded", {"layers": 1}), ("apart", {})],
)
def test_the_exported_file_has_the_foretold_macs_and_the_modules_answers(name, options, tmp_path):
    module, inputs, task, groups, gone = found(name, **options)
    smaller = cut(module, groups, gone)
    path = export_module(
        smaller, task=task, example=inputs, path=tmp_path / "m.onnx", labels=("a", "b", "c")
    )
    single = {key: value[:1] for key, value in inputs.items()}
    after = count_cost(smaller, task=task, inputs=single)
    arrays = {key: value.numpy() for key, value in single.items()}
    assert count_macs(path, arrays) == (after.macs, ())
    more = {key: torch.cat([value, value[:1]]) for key, value in inputs.items()}
    got = run(session(path, threads=1), more)[task.output_names[0]]
    with torch.no_grad():
        wanted = task.logits(smaller, more).numpy()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_a_head_is_its_rows_of_queries_keys_and_values():
    module, _, _ = attentive("encoder")
    groups, notes = traced_groups(module, task=IMAGES, inputs=GIVEN)
    assert [(group.name, group.kind, group.units) for group in groups] == [
        ("encoder.layers.0.self_attn", "heads", 4),
        ("encoder.layers.0.linear1", "feed_forward", 48),
        ("encoder.layers.1.self_attn", "heads", 4),
        ("encoder.layers.1.linear1", "feed_forward", 48),
    ]
    assert notes[0] == (
        "left alone, as nn.MultiheadAttention reads them or adds to them, and keeps its width: "
        "patch, encoder.layers.0.linear2, encoder.layers.1.linear2."
    )
    smaller = cut(module, groups[:1], [torch.tensor([0, 2])])
    old, new = module.encoder.layers[0].self_attn, smaller.encoder.layers[0].self_attn
    kept = [*range(8, 16), *range(24, 32)]
    rows = [part + row for part in (0, 32, 64) for row in kept]
    assert torch.equal(new.in_proj_weight, old.in_proj_weight[rows])
    assert torch.equal(new.in_proj_bias, old.in_proj_bias[rows])
    assert torch.equal(new.out_proj.weight, old.out_proj.weight[:, kept])
    assert torch.equal(new.out_proj.bias, old.out_proj.bias)
    assert (new.num_heads, new.head_dim, new.embed_dim) == (2, 8, 32)
    assert type(smaller.encoder.layers[1].self_attn) is nn.MultiheadAttention


MASKS = {
    "none": {},
    "padding": {"key_padding_mask": torch.tensor([[False] * 6, [False] * 4 + [True] * 2])},
    "pairs": {"attn_mask": torch.randn(5, 6)},
    "each head": {"attn_mask": torch.randn(8, 5, 6) > 1.5},
    "both": {
        "key_padding_mask": torch.tensor([[0.0] * 6, [0.0] * 4 + [-torch.inf] * 2]),
        "attn_mask": torch.randn(5, 6),
    },
}
FORMS = [
    {"bias": bias, "batch_first": first, "add_bias_kv": learned, "add_zero_attn": learned}
    for bias, first, learned in itertools.product((True, False), repeat=3)
]


@pytest.mark.parametrize("mask_name", MASKS)
@pytest.mark.parametrize("width", [32, 20])
def test_with_all_its_heads_it_answers_as_torchs_own_attention(mask_name, width):
    for form in FORMS:
        torch.manual_seed(0)
        attention = nn.MultiheadAttention(32, 4, kdim=width, vdim=width, **form).eval()
        for parameter in attention.parameters():
            nn.init.normal_(parameter)
        given = [torch.randn(2, 5, 32), torch.randn(2, 6, width), torch.randn(2, 6, width)]
        if not form["batch_first"]:
            given = [x.transpose(0, 1) for x in given]
        for named in ({"need_weights": False}, {}, {"average_attn_weights": False}):
            named |= MASKS[mask_name]
            wanted, weights = attention(*given, **named)
            with heads_apart(attention):
                answer, own = attention(*given, **named)
            assert type(attention) is nn.MultiheadAttention
            torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-4)
            assert (own is None) == (weights is None)
            if weights is not None:
                torch.testing.assert_close(own, weights, rtol=1e-4, atol=1e-5)


def test_without_a_batch_and_with_one_input_it_answers_as_torchs_own_attention():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(32, 4).eval()
    for shape in ((5, 32), (5, 2, 32)):
        tokens = torch.randn(*shape)
        wanted = attention(tokens, tokens, tokens)
        with heads_apart(attention):
            answer = attention(tokens, tokens, tokens)
        for one, other in zip(answer, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_dropout_of_weights_stays_in_training():
    torch.manual_seed(0)
    module = Patches(dropout=0.5).train()
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    groups, _ = traced_groups(module, task=IMAGES, inputs=GIVEN)
    smaller = cut(module, groups, some_of(groups))
    one, other = (smaller(**GIVEN) for _ in range(2))
    assert not torch.allclose(one, other)
    smaller.eval()
    assert torch.equal(smaller(**GIVEN), smaller(**GIVEN))


@pytest.mark.parametrize("name", ["encoder", "padded"])
def test_heads_are_ranked_by_what_they_answer(name):
    module, inputs, task = attentive(name)
    weak = module.encoder.layers[0].self_attn
    with torch.no_grad():
        weak.in_proj_weight[64 + 8 : 64 + 16] *= 0.01  # the values of the second head
        weak.in_proj_bias[64 + 8 : 64 + 16] *= 0.01
    groups, _ = traced_groups(module, task=task, inputs=inputs)
    before = [(type(part), dict(part.__dict__)) for part in module.modules()]
    scores = activation(module, groups, task=task, batches=[inputs])
    assert scores[0].argmin() == 1
    assert [(type(part), part.__dict__) for part in module.modules()] == before


class Reads(nn.Module):
    """Attention of a batch of rows, the heads of which can't be cut."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embed = nn.Linear(8, 16)
        self.attention = Own(16, 4) if kind == "own" else nn.MultiheadAttention(16, 4)
        self.other = nn.MultiheadAttention(16, 4)
        self.up, self.head = nn.Linear(16, 24), nn.Linear(24, 3)
        if kind == "tied":
            self.other.in_proj_weight = self.attention.in_proj_weight

    def forward(self, pixel_values):
        rows = self.embed(pixel_values.flatten(1).unflatten(1, (-1, 8)))
        each = (
            rows.new_zeros(4 * rows.shape[1], len(rows), len(rows)) if self.kind == "mask" else None
        )
        seen, weights = self.attention(rows, rows, rows, attn_mask=each)
        if self.kind == "weights":
            seen = seen * weights.amax()
        if self.kind == "tied":
            seen = seen + self.other(rows, rows, rows)[0]
        return self.head(self.up(seen).relu().mean(1))


class Own(nn.MultiheadAttention):
    def forward(self, *given, **named):
        return super().forward(*given, **named)


@pytest.mark.parametrize(
    ("kind", "reason", "paths"),
    [
        ("weights", "the model reads the attention weights that they return", "attention"),
        ("mask", "the model makes a mask for each of their heads", "attention"),
        ("own", "the forward of Own isn't that of nn.MultiheadAttention", "attention"),
        ("tied", "they share weights with other", "attention"),
    ],
)
def test_heads_that_cannot_be_cut_are_left_alone_with_the_reason(kind, reason, paths):
    torch.manual_seed(0)
    module = Reads(kind).eval()
    groups, notes = traced_groups(module, task=IMAGES, inputs=GIVEN)
    assert [group.name for group in groups] == ["up"]
    assert f"left alone, as {reason}: {paths}." in notes
    options = CutOptions(target=Target(params=0.9), units=("heads",))
    with pytest.raises(StageError, match=r"Reads can't lose heads: .* lose only channels\. left"):
        prune(module, options, example_inputs=GIVEN, task=IMAGES)
    pruned = prune(module, CutOptions(target=Target(params=0.9)), example_inputs=GIVEN, task=IMAGES)
    assert pruned.module.up.out_features < 24


def test_units_choose_between_heads_and_neurons():
    module, inputs, task = attentive("padded")
    for unit in ("heads", "feed_forward"):
        groups, notes = find_groups(module, task=task, inputs=inputs, units=(unit,))
        assert {group.kind for group in groups} == {unit}
        left = {"heads": "feed_forward", "feed_forward": "heads"}[unit]
        assert notes[-1] == f"left alone, as 'units' doesn't name them: {left}."
    with pytest.raises(StageError, match=r"Padded can't lose hidden: .* only heads, feed_forward"):
        find_groups(module, task=CLASSES, inputs=inputs, units=("hidden",))


@pytest.mark.parametrize("macs", [0.7, 0.5])
def test_a_target_is_met_by_heads_and_neurons(macs):
    module, inputs, task = attentive("padded")
    made = prune(module, CutOptions(target=Target(macs=macs)), example_inputs=inputs, task=task)
    assert made.after.macs == pytest.approx(macs * made.before.macs, rel=0.02)
    heads = next(note for note in made.notes if note.startswith("heads kept"))
    assert "of 4 by layer" in heads


def test_low_rank_layers_are_called_in_torchs_fused_path():
    module, inputs, task = attentive("padded")
    split = put_low_rank(copy.deepcopy(module), {"encoder.layers.1.linear1": 32})
    whole = module.encoder.layers[1].linear1
    fill(split.encoder.layers[1].linear1, whole.weight.detach(), torch.eye(32))
    with torch.no_grad():
        torch.testing.assert_close(task.logits(split, inputs), task.logits(module, inputs))
