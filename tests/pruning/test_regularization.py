"""Penalties that press on units before they are cut."""

import pytest
import torch
from torch import nn

from compress.models.structure.groups import Group, Slice, block_index
from compress.pruning.regularization import GroupLasso, GrowingPenalty, unit_squares

BATCH = {"pixel_values": torch.zeros(4, 2)}


def network():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
        module[0].bias.copy_(torch.tensor([0.0, 0.0, 1.0]))
        module[2].weight.copy_(torch.tensor([[4.0, 0.0, 1.0]]))
    return module


def group():
    index = block_index(3, 1)
    return Group(
        "0",
        "feed_forward",
        3,
        (
            Slice("0", "weight", 0, index),
            Slice("0", "bias", 0, index),
            Slice("1", "running_mean", 0, index),
            Slice("2", "weight", 1, index),
        ),
    )


def test_squares_of_a_unit_are_all_that_goes_with_it():
    squares, weights = unit_squares(network(), group())
    torch.testing.assert_close(squares, torch.tensor([25.0, 0.0, 4.0]))
    assert weights == 4


def test_units_of_several_elements():
    module = nn.Sequential(nn.Linear(1, 4, bias=False))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
    index = torch.tensor([[0, 3], [1, 2]])
    squares, weights = unit_squares(
        module, Group("0", "heads", 2, (Slice("0", "weight", 0, index),))
    )
    assert squares.tolist() == [17.0, 13.0]
    assert weights == 2


def test_a_shared_weight_counts_once():
    module = nn.ModuleList([nn.Embedding(2, 3), nn.Linear(3, 2, bias=False)])
    module[1].weight = module[0].weight
    index = block_index(3, 1)
    slices = (Slice("0", "weight", 1, index), Slice("1", "weight", 1, index))
    squares, weights = unit_squares(module, Group("hidden", "hidden", 3, slices))
    torch.testing.assert_close(squares, module[0].weight.square().sum(0))
    assert weights == 2


def test_group_lasso_by_hand():
    parts = GroupLasso([group(), group()], strength=0.5)(network(), BATCH)
    assert parts["group_lasso"].item() == pytest.approx(0.5 * (5 + 0 + 2) * 4**0.5)


def test_group_lasso_takes_whole_units_to_zero_and_has_a_finite_slope_there():
    module = network()
    penalty = GroupLasso([group()], strength=1.0)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        loss = penalty(module, BATCH)["group_lasso"]
        loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)
        optimizer.step()
    assert unit_squares(module, group())[0].max() < 0.01


def test_the_growing_penalty_presses_on_the_chosen_units_alone_and_grows_to_its_strength():
    module = network()
    penalty = GrowingPenalty([group()], [torch.tensor([0])], strength=2.0, samples=8)
    values = [penalty(module, BATCH)["growing"] for _ in range(4)]
    assert [value.item() for value in values] == pytest.approx([0.0, 12.5, 25.0, 25.0])
    values[-1].backward()
    torch.testing.assert_close(module[0].weight.grad[0], 2.0 * module[0].weight[0].detach())
    assert module[0].weight.grad[1:].abs().max() == 0
    with torch.no_grad():
        assert penalty(module, BATCH)["growing"].item() == pytest.approx(25.0)


def test_validation_does_not_make_it_grow():
    penalty = GrowingPenalty([group()], [torch.tensor([0])], strength=2.0, samples=8)
    with torch.no_grad():
        for _ in range(10):
            penalty(network(), BATCH)
    assert penalty(network(), BATCH)["growing"].item() == 0.0


def test_counts_are_samples():
    assert GroupLasso([group()], strength=1.0).counts(BATCH) == {"group_lasso": 4}
    penalty = GrowingPenalty([group()], [torch.tensor([0])], strength=1.0, samples=1)
    assert penalty.counts(BATCH) == {"growing": 4}
