"""Cost prediction, ranking and search."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_models import IMAGE, make
from torch import nn

from compress.pruning.cost import CostModel, count_cost, count_params
from compress.pruning.cut import cut
from compress.pruning.described import family_groups
from compress.pruning.groups import Group, Slice, block_index, importance
from compress.pruning.options import Target
from compress.pruning.prune import prune
from compress.pruning.search import allowed, rank, search, step_of
from compress.pruning.traced import channel_groups


def groups_of(name):
    module, inputs, task = make(name)
    if name == "resnet":
        return module, inputs, task, channel_groups(module, task=task, inputs=inputs)[0]
    return module, inputs, task, family_groups(module, units=("heads", "feed_forward"))


@pytest.mark.parametrize("name", ["resnet", "bert", "distilbert", "mpnet", "vit"])
def test_predicted_cost_is_the_counted_cost(name):
    module, inputs, task, groups = groups_of(name)
    model = CostModel(module, groups, task=task, inputs=inputs)
    assert model.predict([0] * len(groups)) == model.total
    counts = [max(1, group.units // (2 + i % 3)) for i, group in enumerate(groups)]
    smaller = cut(module, groups, [torch.arange(count) for count in counts])
    assert model.predict(counts) == count_cost(smaller, task=task, inputs=inputs)


def test_attention_is_counted():
    module, inputs, task, _ = groups_of("bert")
    samples, length, hidden, inner, layers = 2, 12, 32, 48, 3
    linear = length * (4 * hidden * hidden + 2 * hidden * inner)
    attention = 2 * length * length * hidden
    head = hidden * hidden + hidden * 3
    expected = samples * (layers * (linear + attention) + head)
    assert count_cost(module, task=task, inputs=inputs).macs == expected


def test_convolutions_are_counted():
    module = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(64, 3))
    cost = count_cost(module, task=IMAGE, inputs={"pixel_values": torch.rand(1, 1, 8, 8)})
    assert cost.macs == 16 * 4 * 9 + 64 * 3
    assert cost.params == count_params(module) == 4 * 9 + 4 + 64 * 3 + 3


def test_importance_is_the_norm_of_all_that_goes_relative_to_the_mean():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
        module[0].bias.copy_(torch.tensor([0.0, 1.0, 1.0]))
        module[1].weight.copy_(torch.tensor([[4.0, 0.0, 1.0]]))
    index = block_index(3, 1)
    slices = (Slice("0", "weight", 0, index), Slice("0", "bias", 0, index))
    group = Group("0", "feed_forward", 3, (*slices, Slice("1", "weight", 1, index)))
    norms = torch.tensor([5.0, 1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(importance(module, group), norms / norms.mean())


def plain(units, kind="feed_forward"):
    return Group("g", kind, units, ())


@pytest.mark.parametrize(("units", "step"), [(3, 1), (8, 2), (16, 4), (31, 4), (32, 8), (1536, 8)])
def test_steps_leave_narrow_layers_a_choice(units, step):
    assert step_of(plain(units), round_to=None) == step
    assert step_of(plain(units), round_to=3) == 3
    assert step_of(plain(units, "heads"), round_to=3) == 1


@given(units=st.integers(1, 200), count=st.integers(0, 200), round_to=st.integers(1, 40))
def test_what_is_kept_is_a_multiple_and_never_nothing(units, count, round_to):
    cuts = allowed(plain(units), min(count, units), round_to=round_to)
    kept = units - cuts
    assert 0 <= cuts <= min(count, units)
    assert kept >= 1
    assert kept == units or kept % round_to == 0


def test_global_rank_compares_layers_and_layer_rank_does_not():
    groups = [plain(2), plain(2)]
    scores = [torch.tensor([0.1, 0.2]), torch.tensor([0.9, 0.8])]
    assert rank(groups, scores, scope="global").keys == [[0.0, 0.25], [0.5, 0.75]]
    ranking = rank(groups, scores, scope="layer")
    assert ranking.keys == [[0.0, 0.5], [0.0, 0.5]]
    assert [order.tolist() for order in ranking.order] == [[0, 1], [1, 0]]


def test_heads_and_neurons_are_ranked_apart():
    groups = [plain(2, "heads"), plain(2)]
    scores = [torch.tensor([0.99, 1.01]), torch.tensor([0.5, 1.5])]
    assert rank(groups, scores, scope="global").keys == [[0.0, 0.5], [0.0, 0.5]]


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(8, 60), min_size=1, max_size=5),
    fraction=st.floats(0.2, 0.95),
    seed=st.integers(0, 99),
)
def test_search_comes_within_one_unit_of_the_target(sizes, fraction, seed):
    torch.manual_seed(seed)
    groups = [plain(size) for size in sizes]
    ranking = rank(groups, [torch.rand(size) for size in sizes], scope="global")
    whole = sum(sizes)
    counts = search(
        groups,
        ranking,
        lambda counts: whole - sum(counts),
        target=fraction * whole,
        round_to=1,
    )
    least = len(sizes)
    assert abs(whole - sum(counts) - max(least, fraction * whole)) <= 1


def test_the_least_important_go_first():
    module, inputs, task = make("bert")
    with torch.no_grad():
        for layer in module.bert.encoder.layer:
            layer.intermediate.dense.weight[:24].mul_(0.01)
            layer.intermediate.dense.bias[:24].zero_()
            layer.output.dense.weight[:, :24].mul_(0.01)
    groups = family_groups(module, units=("feed_forward",))
    half = CostModel(module, groups, task=task, inputs={k: v[:1] for k, v in inputs.items()})
    target = half.predict([24] * 3).params / half.total.params
    result = prune(
        module,
        target=Target(params=target),
        example_inputs=inputs,
        task=task,
        units=("feed_forward",),
        round_to=1,
    )
    with torch.no_grad():
        difference = task.logits(result.module, inputs) - task.logits(module, inputs)
    assert difference.abs().max() < 1e-4
    assert [
        layer.intermediate.dense.out_features for layer in result.module.bert.encoder.layer
    ] == [
        24,
        24,
        24,
    ]
    assert any(note.startswith("feed_forward kept: 24, 24, 24 of 48") for note in result.notes)
    assert any("heads were left alone" in note for note in result.notes)


def test_round_to_is_kept():
    module, inputs, task = make("vit")
    result = prune(module, target=Target(macs=0.6), example_inputs=inputs, task=task, round_to=4)
    widths = {layer.mlp.fc1.out_features for layer in result.module.vit.layers}
    assert all(width % 4 == 0 for width in widths)
    assert len(widths) > 1


def test_mpnet_keeps_the_same_heads_in_all_layers():
    module, inputs, task = make("mpnet")
    result = prune(module, target=Target(macs=0.6), example_inputs=inputs, task=task, round_to=1)
    encoder = result.module.mpnet.encoder
    heads = {layer.attention.attn.num_attention_heads for layer in encoder.layer}
    assert heads == {encoder.relative_attention_bias.embedding_dim}
    assert heads < {1, 2, 3}
