"""Criteria that read weights alone, and what holds for all of them."""

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from compress.errors import StageError
from compress.models.structure.find import find_groups
from compress.models.structure.groups import Group, Slice, block_index
from compress.pruning.importance import fpgm
from compress.pruning.importance.scores import OF_A_GROUP, scores
from compress.pruning.importance.weights import UnitWeights
from compress.pruning.options import READ_DATA, Criterion
from tests.models.structure.family_models import family_model
from tests.models.structure.small_models import shake_batch_norms
from tests.pruning.importance.models import (
    IMAGE,
    assert_same_state,
    batches,
    cross_entropy,
    network,
    neurons,
    state,
    zero_unit,
)

BY_WEIGHT = [name for name in get_args(Criterion) if name in OF_A_GROUP]
BY_DATA = sorted(READ_DATA)


def rated(module, groups, criterion, data=None, **more):
    return scores(
        module,
        groups,
        criterion=criterion,
        seed=0,
        task=IMAGE,
        batches=batches() if data is None else data,
        loss=cross_entropy,
        **more,
    )


def permuted(module, order):
    with torch.no_grad():
        module[0].weight.copy_(module[0].weight[order])
        module[0].bias.copy_(module[0].bias[order])
        module[2].weight.copy_(module[2].weight[:, order])
    return module


@settings(deadline=None, max_examples=5)
@given(order=st.permutations(range(6)), seed=st.integers(0, 99))
@pytest.mark.parametrize("criterion", BY_WEIGHT + BY_DATA)
def test_permuting_units_permutes_scores(criterion, order, seed):
    (before,) = rated(network(seed=seed), [neurons()], criterion)
    (after,) = rated(permuted(network(seed=seed), order), [neurons()], criterion)
    torch.testing.assert_close(after, before[order], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("criterion", ["magnitude", "lamp", *BY_DATA])
def test_a_unit_of_zeros_is_the_least_important(criterion):
    (found,) = rated(zero_unit(network(), 3), [neurons()], criterion)
    assert found.dtype == torch.float64
    assert found[3] == 0
    assert (found[torch.arange(6) != 3] > 0).all()


@pytest.mark.parametrize("criterion", get_args(Criterion))
def test_no_trace_is_left_on_the_module(criterion):
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 3)
    )
    module[4].train().weight.requires_grad_(False)
    nn.init.uniform_(module[1].weight)
    module[1].eval()
    module[0].weight.grad = torch.ones_like(module[0].weight)
    index = torch.arange(8)[:, None]
    norm = tuple(Slice("1", name, 0, index) for name in ("weight", "bias", "running_mean"))
    slices = (Slice("0", "weight", 0, index), Slice("0", "bias", 0, index), *norm)
    flat = Slice("4", "weight", 1, block_index(8, 16))
    group = Group("0", "channels", 8, (*slices, flat))
    images = [{"pixel_values": torch.rand(4, 1, 6, 6), "labels": torch.tensor([0, 1, 2, 0])}]
    before = state(module)
    (found,) = rated(module, [group], criterion, images)
    assert_same_state(module, before)
    assert found.shape == (8,)
    assert len(set(found.tolist())) > 1, "a frozen parameter counts as any other"


@settings(deadline=None, max_examples=20)
@given(factor=st.floats(1e-3, 1e3))
@pytest.mark.parametrize("criterion", BY_WEIGHT)
def test_the_scale_of_a_layer_makes_no_difference(criterion, factor):
    module = network()
    (before,) = rated(module, [neurons()], criterion)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(factor)
    (after,) = rated(module, [neurons()], criterion)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-9)


def test_an_element_counts_once_where_a_parameter_is_shared():
    table, reader = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
    reader.weight = table.weight
    module = nn.Sequential(table, reader)
    index = block_index(4, 1)
    group = Group("0", "hidden", 4, tuple(Slice(name, "weight", 1, index) for name in "01"))
    wanted = table.weight.detach().double().square().sum(0)
    torch.testing.assert_close(UnitWeights(module, group).squares(), wanted)


@settings(deadline=None, max_examples=20)
@given(units=st.integers(2, 5), width=st.integers(1, 3), kernel=st.integers(1, 2))
def test_an_element_counts_once_in_a_row_and_a_column(units, width, kernel):
    torch.manual_seed(0)
    size = units * width
    layer = nn.Conv1d(size, size, kernel, bias=False)
    index = torch.randperm(size).reshape(units, width)
    slices = tuple(Slice("", "weight", dim, index) for dim in (0, 1))
    found = UnitWeights(layer, Group("g", "hidden", units, slices)).squares()
    weight = layer.weight.detach().double().square()
    for unit, own in enumerate(index):
        has = torch.zeros(size, size, dtype=torch.bool)
        has[own] = True
        has[:, own] = True
        torch.testing.assert_close(found[unit], weight[has].sum())


def test_lamp_by_hand():
    module, group = network(4), neurons(4)
    with torch.no_grad():
        module[0].weight.zero_()
        module[2].weight.zero_()
        module[0].bias.copy_(torch.tensor([2.0, 1.0, 2.0, 4.0]))
    (found,) = rated(module, [group], "lamp")
    wanted = torch.tensor([4 / 24, 1 / 25, 4 / 24, 1.0], dtype=torch.float64)
    torch.testing.assert_close(found, wanted)


def test_lamp_of_a_layer_of_zeros():
    module = network()
    for unit in range(6):
        zero_unit(module, unit)
    assert rated(module, [neurons()], "lamp")[0].tolist() == [0.0] * 6


@pytest.mark.parametrize("block", [2, 1024])
def test_fpgm_is_the_sum_of_distances(monkeypatch, block):
    monkeypatch.setattr(fpgm, "_BLOCK", block)
    module = network(7)
    vectors = torch.cat(
        [module[0].weight, module[0].bias[:, None], module[2].weight.T], dim=1
    ).double()
    wanted = torch.cdist(vectors, vectors).sum(1)
    (found,) = rated(module, [neurons(7)], "fpgm")
    torch.testing.assert_close(found, (wanted / wanted.mean()).detach())


def test_fpgm_of_a_duplicate_and_of_what_lies_in_the_middle():
    module = network(4)
    with torch.no_grad():
        module[0].weight[1] = module[0].weight[0]
        module[0].bias[1] = module[0].bias[0]
        module[2].weight[:, 1] = module[2].weight[:, 0]
    (found,) = rated(module, [neurons(4)], "fpgm")
    assert found[0] == pytest.approx(found[1].item(), rel=1e-9)
    assert found[0] < found[2:].min(), "a unit that another equals is nearest to the others"


def test_random_is_even_and_goes_by_the_seed():
    groups = [neurons(400), neurons(3)]
    first, again, other = (
        scores(nn.Identity(), groups, criterion="random", seed=seed) for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].mean() == pytest.approx(0.5, abs=0.1)
    assert not torch.equal(first[0][:3], first[1])


def test_batch_norm_is_the_gain_and_other_layers_are_refused_by_name():
    torch.manual_seed(0)
    module = shake_batch_norms(
        nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 5, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(5, 3),
        )
    )
    with torch.no_grad():
        module[1].weight[2] = -9.0
    inputs = {"pixel_values": torch.rand(2, 1, 8, 8)}
    groups = find_groups(module, task=IMAGE, inputs=inputs, units=None).groups
    assert [group.name for group in groups] == ["0", "3"]
    (found,) = rated(module, groups[:1], "batch_norm")
    torch.testing.assert_close(found, module[1].weight.detach().abs().double())
    with pytest.raises(StageError, match=r"'batch_norm' can't rank 3: no batch normalisation"):
        rated(module, groups, "batch_norm")


@pytest.mark.parametrize("criterion", BY_WEIGHT)
def test_every_kind_of_unit_can_be_ranked_by_weight(criterion):
    module, _, inputs, task = family_model("bert")
    units = ("heads", "head_width", "feed_forward", "hidden")
    groups = find_groups(module, task=task, inputs=inputs, units=units).groups
    found = scores(module, groups, criterion=criterion, seed=0)
    for group, each in zip(groups, found, strict=True):
        assert each.shape == (group.units,)
        assert (each > 0).all()


def test_what_a_criterion_lacks_is_said():
    module, groups = network(), [neurons()]
    with pytest.raises(StageError, match="needs a task"):
        scores(module, groups, criterion="activation", seed=0)
    with pytest.raises(StageError, match="'hessian' needs a loss"):
        scores(module, groups, criterion="hessian", seed=0)
    with pytest.raises(StageError, match="there is no batch"):
        rated(module, groups, "activation", [])
    with pytest.raises(StageError, match="there is no sample"):
        rated(module, groups, "taylor", [])


def test_weights_that_are_no_numbers_are_refused_by_name():
    module = network()
    with torch.no_grad():
        module[0].weight[2, 1] = float("nan")
    with pytest.raises(StageError, match="isn't a finite number for units of 0"):
        rated(module, [neurons()], "magnitude")
