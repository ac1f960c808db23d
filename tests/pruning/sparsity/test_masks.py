import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from compress.errors import StageError
from compress.models.resnet import resnet
from compress.pruning.sparsity.masks import (
    compressed_bytes,
    find_weights,
    masked,
    masks_by_pattern,
    masks_by_ratio,
    settled,
    zeros,
)
from compress.pruning.sparsity.options import Pattern, SparsityOptions
from tests.models.structure.small_models import make


def weight(module, path):
    return module.get_submodule(path).weight.detach()


def sparse(module, masks):
    return settled(masked(module, masks), module)


@settings(max_examples=20, deadline=None)
@given(ratio=st.floats(0.01, 0.99), scope=st.sampled_from(["layer", "global"]))
def test_as_many_weights_are_zero_as_asked(ratio, scope):
    torch.manual_seed(0)
    module = resnet(blocks=(1, 1), width=8)
    paths = find_weights(module).paths
    made = sparse(module, masks_by_ratio(module, paths, ratio=ratio, scope=scope))
    count, total = zeros(made, paths)
    assert total == sum(weight(module, path).numel() for path in paths)
    if scope == "global":
        assert abs(count - ratio * total) <= 1
    else:
        for path in paths:
            count, total = zeros(made, [path])
            assert abs(count - ratio * total) <= 1


def test_the_smallest_go_and_the_others_stay_as_they_were():
    module = make("bert")[0]
    paths = find_weights(module).paths
    made = sparse(module, masks_by_ratio(module, paths, ratio=0.3, scope="global"))
    gone, stay = [], []
    for path in paths:
        old, new = weight(module, path), weight(made, path)
        assert torch.equal(new[new != 0], old[new != 0])
        gone.append(old[new == 0].abs())
        stay.append(old[new != 0].abs())
    assert torch.cat(gone).max() <= torch.cat(stay).min()
    others = {n: p for n, p in module.named_parameters() if n.rpartition(".")[0] not in paths}
    assert all(torch.equal(p, made.get_parameter(n)) for n, p in others.items())
    assert any("embeddings" in name for name in others)


def test_equal_weights_still_give_the_number_asked():
    module = nn.Sequential(nn.Linear(10, 10))
    nn.init.constant_(module[0].weight, 0.5)
    made = sparse(module, masks_by_ratio(module, ["0"], ratio=0.37, scope="layer"))
    assert zeros(made, ["0"]) == (37, 100)


@pytest.mark.parametrize("text", ["2:4", "1:4", "4:8"])
@pytest.mark.parametrize(
    "part",
    [
        nn.Linear(16, 5),
        nn.Conv2d(8, 6, 3),
        nn.Conv2d(16, 4, 1, groups=2),
        nn.ConvTranspose2d(8, 4, 3),
    ],
)
def test_patterns_hold_in_every_group_of_inputs(text, part):
    pattern = Pattern.of(text)
    module = nn.Sequential(part)
    made = sparse(module, masks_by_pattern(module, ["0"], pattern))
    dim = 0 if isinstance(part, nn.ConvTranspose2d) else 1
    old, new = (weight(m, "0").movedim(dim, -1).reshape(-1, pattern.group) for m in (module, made))
    assert ((new != 0).sum(1) == pattern.keep).all()
    kept = old.abs().topk(pattern.keep).values.sum(1)
    torch.testing.assert_close(new.abs().sum(1), kept)


def test_patterns_of_conv1d_go_along_its_inputs():
    from transformers.pytorch_utils import Conv1D

    module = nn.Sequential(Conv1D(5, 8))
    nn.init.normal_(module[0].weight)
    made = sparse(module, masks_by_pattern(module, ["0"], Pattern(2, 4)))
    assert ((weight(made, "0").T.reshape(-1, 4) != 0).sum(1) == 2).all()


def test_what_stays_dense_and_why():
    module = nn.ModuleDict({"a": nn.Linear(8, 8), "odd": nn.Linear(6, 8), "out": nn.Linear(8, 20)})
    module["embedding"] = nn.Embedding(20, 8)
    module["out"].weight = module["embedding"].weight
    found = find_weights(module, pattern=Pattern(2, 4))
    assert found.paths == ["a"]
    assert "odd (its inputs aren't a multiple of 4)" in found.notes[0]
    assert "out (its weight belongs to another layer too)" in found.notes[0]
    assert find_weights(module, exclude=["o*"]).paths == ["a"]
    assert not find_weights(nn.Sequential(nn.Linear(2, 2))).notes


def test_patterns_of_paths_that_fit_nothing_and_nothing_left_are_errors():
    module = nn.Sequential(nn.Linear(8, 8))
    with pytest.raises(StageError, match=r"'exclude' must be patterns .* Got 'head'"):
        find_weights(module, exclude=["head"])
    with pytest.raises(StageError, match=r"no linear or convolutional weight .*'exclude' says so"):
        find_weights(module, exclude=["*"])


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_training_and_decay_keep_zeros(optimizer):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    masks = masks_by_ratio(module, ["0", "2"], ratio=0.5, scope="layer")
    learning = copy.deepcopy(masked(module, masks))
    steps = optimizer(learning.parameters(), lr=0.1, weight_decay=0.3)
    for _ in range(5):
        steps.zero_grad()
        learning(torch.rand(16, 8)).square().mean().backward()
        steps.step()
        assert all(torch.equal(learning.get_submodule(p).weight != 0, m) for p, m in masks.items())
    made = settled(learning, module)
    assert type(made[0]) is nn.Linear
    assert set(made.state_dict()) == set(module.state_dict())
    values = torch.rand(4, 8)
    assert torch.equal(made(values), learning(values))
    for path, mask in masks.items():
        assert torch.equal(weight(made, path) != 0, mask)
        assert not torch.equal(weight(made, path)[mask], weight(module, path)[mask])


def test_frozen_weights_stay_frozen():
    module = nn.Sequential(nn.Linear(8, 8))
    module[0].weight.requires_grad_(False)
    made = masked(module, masks_by_ratio(module, ["0"], ratio=0.5, scope="layer"))
    assert [p.requires_grad for p in made.parameters()].count(True) == 1
    assert not settled(made, module)[0].weight.requires_grad


def test_only_compressed_bytes_fall():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(100, 100))
    sizes = [
        compressed_bytes(sparse(module, masks_by_ratio(module, ["0"], ratio=r, scope="layer")))
        for r in (0.01, 0.5, 0.9)
    ]
    assert 40_000 * 0.85 < sizes[0] < 40_500
    assert sizes[1] < 0.65 * sizes[0]
    assert sizes[2] < 0.25 * sizes[0]
    tied = nn.ModuleList([module[0], module[0]])
    assert compressed_bytes(tied) == compressed_bytes(module)


@pytest.mark.parametrize("text", ["4:2", "2:2", "0:4", "2-4", "2:100", ""])
def test_patterns_must_be_two_numbers(text):
    with pytest.raises(ValidationError, match=r"'pattern' must be \"N:M\" with 1 <= N < M <= 64"):
        SparsityOptions(pattern=text)


@pytest.mark.parametrize("fields", [{}, {"ratio": 0.5, "pattern": "2:4"}, {"ratio": 1.0}])
def test_exactly_one_measure(fields):
    with pytest.raises(ValidationError):
        SparsityOptions.model_validate(fields)
