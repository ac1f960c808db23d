"""Families of transformers lose what their layouts say they can, and stay what they are."""

import math
from collections import defaultdict

import pytest
import torch

from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.structure.cut import cut, mask
from compress.models.structure.find import find_groups
from compress.models.structure.transformers.families import LAYOUTS
from compress.models.structure.transformers.groups import family_groups
from compress.pruning.importance.magnitude import magnitude
from tests.models.structure.cut_families import (
    EXPORTED,
    ONE_EACH,
    SAME_CODE,
    answers,
    some_of,
    units_of,
)
from tests.models.structure.family_models import MODELS, family_model


def left_after(module, groups, gone):
    """Parameters that remain, summed up from the groups' indices alone."""
    removed = defaultdict(set)
    for group, units in zip(groups, gone, strict=True):
        for part in group.slices:
            removed[f"{part.module}.{part.tensor}", part.dim] |= set(
                part.index[units].flatten().tolist()
            )
    return sum(
        math.prod(size - len(removed[name, dim]) for dim, size in enumerate(parameter.shape))
        for name, parameter in module.named_parameters()
    )


def test_every_family_is_tried():
    assert {name.split(",")[0] for name in MODELS} == LAYOUTS.keys()
    assert set(SAME_CODE.values()) <= set(EXPORTED)


@pytest.mark.parametrize(
    ("name", "unit"), [(name, unit) for name in MODELS for unit in [*units_of(name), "all"]]
)
def test_cutting_is_masking_and_takes_what_was_foretold(name, unit):
    module, _, inputs, task = family_model(name)
    groups = family_groups(module, units=units_of(name) if unit == "all" else [unit])
    gone = some_of(groups)
    smaller = cut(module, groups, gone)
    wanted = answers(mask(module, groups, gone), inputs, task)
    scale = wanted.abs().max()
    assert (answers(smaller, inputs, task) - wanted).abs().max() <= 1e-4 * scale
    assert (answers(module, inputs, task) - wanted).abs().max() > 1e-3 * scale
    predicted = left_after(module, groups, gone)
    assert sum(p.numel() for p in smaller.parameters()) == predicted
    assert predicted < sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_brings_the_cut_model_back(name, tmp_path):
    module, source, inputs, task = family_model(name)
    groups = family_groups(module, units=units_of(name))
    smaller = cut(module, groups, some_of(groups))
    save_checkpoint(smaller, source, tmp_path)
    again, _ = load_checkpoint(tmp_path)
    torch.testing.assert_close(
        answers(again, inputs, task), answers(smaller, inputs, task), rtol=1e-5, atol=1e-6
    )
    found = family_groups(again, units=units_of(name))
    assert [group.units for group in found] == [
        group.units - len(units) for group, units in zip(groups, some_of(groups), strict=True)
    ]


@pytest.mark.parametrize("name", ONE_EACH)
def test_layers_that_were_cut_unevenly_can_be_cut_again(name):
    module, _, inputs, task = family_model(name)
    units = units_of(name)
    groups = family_groups(module, units=units)
    gone = [torch.arange(1 + i % 2 if g.units > 2 else i % 2) for i, g in enumerate(groups)]
    once = cut(module, groups, gone)
    groups_left = family_groups(once, units=units)
    assert [g.units for g in groups_left] == [
        g.units - len(u) for g, u in zip(groups, gone, strict=True)
    ]
    last = [torch.arange(1 if group.units > 1 else 0) for group in groups_left]
    wanted = answers(mask(once, groups_left, last), inputs, task)
    answer = answers(cut(once, groups_left, last), inputs, task)
    assert (answer - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("name", MODELS)
def test_heads_are_told_how_many_they_are(name):
    module, _, _, _ = family_model(name)
    layout = LAYOUTS[name.split(",")[0]]
    groups = family_groups(module, units=["heads"])
    smaller = cut(module, groups, [torch.tensor([0]) for _ in groups])
    for group in groups:
        for path in group.attentions:
            old, new = module.get_submodule(path), smaller.get_submodule(path)
            assert getattr(new, layout.head_size) == getattr(old, layout.head_size)
            for attribute in filter(None, (layout.heads, layout.all_heads)):
                was = getattr(old, attribute)
                assert getattr(new, attribute) == was - was // group.units


def llama_heads():
    """A layer whose 4 heads of queries share 2 of keys and values, and hidden states for it."""
    module, _, _, _ = family_model("llama")
    torch.manual_seed(3)
    return module, torch.randn(1, 5, 32)


def by_hand(attention, hidden, kept):
    """Attention without positions over the queries' heads `kept`, as the original pairs them."""
    heads = []
    for head in kept:
        rows, shared = slice(8 * head, 8 * head + 8), slice(8 * (head // 2), 8 * (head // 2) + 8)
        query = hidden @ attention.q_proj.weight[rows].T
        key = hidden @ attention.k_proj.weight[shared].T
        value = hidden @ attention.v_proj.weight[shared].T
        seen = torch.ones(5, 5, dtype=torch.bool).tril()
        score = (query @ key.transpose(1, 2) / 8**0.5).masked_fill(~seen, -torch.inf)
        heads.append(score.softmax(-1) @ value @ attention.o_proj.weight[:, rows].T)
    return sum(heads)


@pytest.mark.parametrize(("unit", "kept"), [(0, (2, 3)), (1, (0, 1))])
def test_queries_keep_the_keys_and_values_that_they_read(unit, kept):
    module, hidden = llama_heads()
    groups = family_groups(module, units=["heads"])
    assert [group.units for group in groups] == [2, 2]
    smaller = cut(module, groups, [torch.tensor([unit]), torch.tensor([1 - unit])])
    positions = (torch.ones(1, 5, 8), torch.zeros(1, 5, 8))  # cosine and sine of no turn at all
    for layer, heads in ((0, kept), (1, tuple({0, 1, 2, 3} - set(kept)))):
        own = smaller.model.layers[layer].self_attn
        assert own.q_proj.weight.shape == (16, 32)
        assert own.k_proj.weight.shape == own.v_proj.weight.shape == (8, 32)
        with torch.no_grad():
            answer = own(hidden, position_embeddings=positions, attention_mask=None)[0]
            wanted = by_hand(module.model.layers[layer].self_attn, hidden, heads)
        torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-5)


def test_a_gate_goes_with_its_neuron():
    module, _, _, _ = family_model("llama")
    groups = family_groups(module, units=["feed_forward"])
    smaller = cut(module, groups, [torch.tensor([0, 47]), torch.tensor([], dtype=torch.long)])
    old, new = module.model.layers[0].mlp, smaller.model.layers[0].mlp
    assert torch.equal(new.gate_proj.weight, old.gate_proj.weight[1:47])
    assert torch.equal(new.up_proj.weight, old.up_proj.weight[1:47])
    assert torch.equal(new.down_proj.weight, old.down_proj.weight[:, 1:47])


def test_a_fused_layer_loses_a_head_in_each_of_its_parts():
    module, _, _, _ = family_model("gpt2")
    groups = family_groups(module, units=["heads"])
    smaller = cut(module, groups, [torch.tensor([1, 3]), torch.tensor([], dtype=torch.long)])
    old, new = module.transformer.h[0].attn, smaller.transformer.h[0].attn
    rows = [part + unit for part in (0, 32, 64) for unit in [*range(8), *range(16, 24)]]
    assert torch.equal(new.c_attn.weight, old.c_attn.weight[:, rows])
    assert torch.equal(new.c_attn.bias, old.c_attn.bias[rows])
    assert torch.equal(new.c_proj.weight, old.c_proj.weight[[*range(8), *range(16, 24)]])
    assert (new.c_attn.nf, new.c_proj.nx, new.split_size, new.num_heads) == (48, 16, 16, 2)


@pytest.mark.parametrize("name", ["mpnet", "t5"])
def test_layers_that_share_a_bias_keep_the_same_heads(name):
    module, _, _, _ = family_model(name)
    (group,) = family_groups(module, units=["heads"])
    smaller = cut(module, [group], [torch.tensor([0, 2])])
    (bias,) = (p for n, p in module.named_parameters() if "relative_attention_bias" in n)
    (left,) = (p for n, p in smaller.named_parameters() if "relative_attention_bias" in n)
    assert torch.equal(left, bias[:, [1, 3]])
    layout = LAYOUTS[name]
    assert [getattr(smaller.get_submodule(path), layout.heads) for path in group.attentions] == [
        2,
        2,
    ]


def test_the_least_important_places_of_each_head_go_in_pairs():
    module, _, _, _ = family_model("bert")
    attention = module.bert.encoder.layer[0].attention
    weak = {0: (5, 2), 1: (0, 7), 2: (3, 3), 3: (6, 1)}  # of queries with keys; of values
    with torch.no_grad():
        for head, (score, answer) in weak.items():
            for part in (attention.self.query, attention.self.key):
                part.weight[8 * head + score] *= 0.01
                part.bias[8 * head + score] *= 0.01
            attention.self.value.weight[8 * head + answer] *= 0.01
            attention.self.value.bias[8 * head + answer] *= 0.01
            attention.output.dense.weight[:, 8 * head + answer] *= 0.01
    groups = family_groups(module, units=["head_width"])
    assert [group.units for group in groups] == [8, 8]
    scores = magnitude(module, groups[0])
    assert scores.argmin() == 0
    assert (scores.diff() >= 0).all()
    smaller = cut(module, groups[:1], [torch.tensor([0])])
    own = smaller.bert.encoder.layer[0].attention
    scored = [i for i in range(32) if i % 8 != weak[i // 8][0]]
    answered = [i for i in range(32) if i % 8 != weak[i // 8][1]]
    assert torch.equal(own.self.query.weight, attention.self.query.weight[scored])
    assert torch.equal(own.self.key.bias, attention.self.key.bias[scored])
    assert torch.equal(own.self.value.weight, attention.self.value.weight[answered])
    assert torch.equal(own.output.dense.weight, attention.output.dense.weight[:, answered])
    assert (own.self.attention_head_size, own.self.all_head_size) == (7, 28)
    assert own.self.scaling == 8**-0.5  # scores stay what they were


def test_default_units_are_neurons_and_heads():
    module, _, inputs, task = family_model("deberta-v2")
    groups, notes = find_groups(module, task=task, inputs=inputs, units=None)
    assert [group.kind for group in groups] == ["heads", "feed_forward"] * 2
    assert notes == ("left alone, as 'units' doesn't name them: hidden.",)
