"""Ranking, and the search for how much of each layer goes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compress.errors import StageError
from compress.models.structure.groups import Group, Slice, block_index
from compress.models.structure.tracing.trace import traced_groups
from compress.models.structure.transformers.groups import family_groups
from compress.pruning.allocation.search import allowed, choices, rank, search, step_of, structure
from compress.pruning.cost.model import CostModel
from compress.pruning.importance.magnitude import magnitude
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune
from tests.models.structure.small_models import make


def test_magnitude_is_the_norm_of_all_that_goes_relative_to_the_mean():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
        module[0].bias.copy_(torch.tensor([0.0, 1.0, 1.0]))
        module[1].weight.copy_(torch.tensor([[4.0, 0.0, 1.0]]))
    index = block_index(3, 1)
    slices = (Slice("0", "weight", 0, index), Slice("0", "bias", 0, index))
    group = Group("0", "feed_forward", 3, (*slices, Slice("1", "weight", 1, index)))
    norms = torch.tensor([5.0, 1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(magnitude(module, group), norms / norms.mean())


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


def test_isomorphic_rank_compares_what_is_built_alike():
    index = block_index(2, 1)
    inner = (Slice("a", "weight", 0, index), Slice("b", "weight", 1, index))
    outer = (*inner, Slice("c", "weight", 1, index))
    groups = [Group(str(n), "channels", 2, each) for n, each in enumerate((inner, outer, inner))]
    scores = [torch.tensor([0.1, 0.2]), torch.tensor([0.3, 0.4]), torch.tensor([0.5, 0.6])]
    ranking = rank(groups, scores, scope="isomorphic")
    assert ranking.keys == [[0.0, 0.25], [0.0, 0.5], [0.5, 0.75]]


def test_blocks_of_a_resnet_and_their_sums_are_not_alike():
    module, inputs, task = make("resnet")
    groups = traced_groups(module, task=task, inputs=inputs, limit_s=60)[0]
    structures = {group.name: structure(group) for group in groups}
    assert structures["stages.0.0.conv1"] == structures["stages.0.1.conv1"]
    assert structures["conv"] != structures["stages.0.0.conv1"]


@given(
    units=st.lists(st.integers(1, 100), min_size=1, max_size=4),
    ratio=st.floats(0, 1),
    round_to=st.sampled_from([None, 1, 4, 16]),
)
def test_choices_keep_multiples_and_stay_under_the_largest_ratio(units, ratio, round_to):
    groups = [plain(number) for number in units]
    for group, each in zip(
        groups, choices(groups, max_ratio=ratio, round_to=round_to), strict=True
    ):
        assert each == sorted(set(each))
        assert each[0] == 0
        assert each[-1] <= ratio * group.units + 1e-6
        step = step_of(group, round_to=round_to)
        assert all(count == 0 or (group.units - count) % step == 0 for count in each)
        assert each[-1] < group.units


def test_the_largest_ratio_can_go_by_the_name():
    groups = [Group(name, "feed_forward", 40, ()) for name in ("up.0", "up.1", "down.0")]
    found = choices(groups, max_ratio={"up.1": 0.0, "up.*": 0.5}, round_to=1)
    assert [each[-1] for each in found] == [20, 0, 39]
    with pytest.raises(StageError, match=r"max_ratio: 'uq\.\*' matches nothing.*up\.0.*mean 'up"):
        choices(groups, max_ratio={"uq.*": 0.5}, round_to=1)


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(8, 60), min_size=1, max_size=5),
    fraction=st.floats(0.2, 0.95),
    most=st.floats(0.3, 1.0),
    seed=st.integers(0, 99),
)
def test_search_comes_within_one_unit_of_the_target(sizes, fraction, most, seed):
    torch.manual_seed(seed)
    groups = [plain(size) for size in sizes]
    ranking = rank(groups, [torch.rand(size) for size in sizes], scope="global")
    every = choices(groups, max_ratio=most, round_to=1)
    whole = sum(sizes)
    counts = search(
        ranking, lambda counts: whole - sum(counts), target=fraction * whole, choices=every
    )
    least = whole - sum(each[-1] for each in every)
    assert abs(whole - sum(counts) - max(least, fraction * whole)) <= max(1, 0.01 * whole)
    assert all(count in each for count, each in zip(counts, every, strict=True))


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_search_is_quick_and_near_with_a_hundred_coarse_layers(scope):
    torch.manual_seed(0)
    groups = [plain(8 * (8 + number % 25)) for number in range(100)]
    ranking = rank(
        groups, [torch.rand(g.units) + n / 99 for n, g in enumerate(groups)], scope=scope
    )
    every = choices(groups, max_ratio=0.9, round_to=32)
    weights = [1 + number % 7 for number in range(100)]
    calls = 0

    def cost(counts):
        nonlocal calls
        calls += 1
        return sum(w * (g.units - c) for w, g, c in zip(weights, groups, counts, strict=True))

    target = 0.4321 * cost([0] * 100)
    counts = search(ranking, cost, target=target, choices=every)
    assert cost(counts) == pytest.approx(target, rel=0.011)
    assert calls < 2000


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
        CutOptions(target=Target(params=target), units=("feed_forward",), round_to=1),
        example_inputs=inputs,
        task=task,
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
    assert any("heads" in note and "left alone" in note for note in result.notes)


def test_round_to_is_kept():
    module, inputs, task = make("vit")
    result = prune(
        module, CutOptions(target=Target(macs=0.6), round_to=4), example_inputs=inputs, task=task
    )
    widths = {layer.mlp.fc1.out_features for layer in result.module.vit.layers}
    assert all(width % 4 == 0 for width in widths)
    assert len(widths) > 1


def test_mpnet_keeps_the_same_heads_in_all_layers():
    module, inputs, task = make("mpnet")
    result = prune(
        module, CutOptions(target=Target(macs=0.6), round_to=1), example_inputs=inputs, task=task
    )
    encoder = result.module.mpnet.encoder
    heads = {layer.attention.attn.num_attention_heads for layer in encoder.layer}
    assert heads == {encoder.relative_attention_bias.embedding_dim}
    assert heads < {1, 2, 3}
