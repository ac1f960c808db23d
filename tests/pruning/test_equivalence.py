"""A pruned model answers as the original does with the same units zeroed."""

import copy

import pytest
import torch
from torch import Tensor, nn

from compress.models.structure.cut import cut, mask
from compress.models.structure.tracing.trace import traced_groups
from compress.models.structure.transformers.groups import family_groups
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune
from tests.models.structure.small_models import (
    IMAGE,
    IMAGE_FAMILIES,
    TEXT_FAMILIES,
    make,
    shake_batch_norms,
)

ALL = ["resnet", "distilbert", *sorted({*TEXT_FAMILIES, *IMAGE_FAMILIES})]


def groups_of(name, module, inputs, task):
    if name == "resnet":
        return traced_groups(module, task=task, inputs=inputs)[0]
    return family_groups(module, units=("heads", "feed_forward"))


def zero_by_hand(module, removed):
    """Zero whole rows and columns of what the tests themselves name."""
    with torch.no_grad():
        for tensor, dim, index in removed:
            tensor.index_fill_(dim, torch.tensor(index), 0.0)
    return module


@pytest.mark.parametrize("name", ALL)
def test_cutting_equals_zeroing(name):
    module, inputs, task = make(name)
    groups = groups_of(name, module, inputs, task)
    units = [torch.randperm(g.units)[: max(1, g.units // 3 + i % 2)] for i, g in enumerate(groups)]
    with torch.no_grad():
        wanted = task.logits(mask(module, groups, units), inputs)
        answer = task.logits(cut(module, groups, units), inputs)
        original = task.logits(module, inputs)
    scale = wanted.abs().max()
    assert (answer - wanted).abs().max() <= 1e-4 * scale
    assert (original - wanted).abs().max() > 1e-3 * scale


def test_bert_heads_and_neurons_zeroed_by_hand():
    module, inputs, task = make("bert")
    groups = family_groups(module, units=("heads", "feed_forward"))
    none = torch.tensor([], dtype=torch.long)
    units = [none] * len(groups)
    heads = next(i for i, g in enumerate(groups) if g.name.endswith("layer.1.attention.self"))
    neurons = next(i for i, g in enumerate(groups) if g.name.endswith("layer.2.intermediate.dense"))
    units[heads], units[neurons] = torch.tensor([0, 2]), torch.tensor([3, 40])
    smaller = cut(module, groups, units)
    by_hand = copy.deepcopy(module)
    attention = by_hand.bert.encoder.layer[1].attention
    head_columns = [*range(8), *range(16, 24)]
    zero_by_hand(
        by_hand,
        [
            (attention.output.dense.weight, 1, head_columns),
            (by_hand.bert.encoder.layer[2].output.dense.weight, 1, [3, 40]),
        ],
    )
    with torch.no_grad():
        wanted, answer = task.logits(by_hand, inputs), task.logits(smaller, inputs)
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-6)
    layers = smaller.bert.encoder.layer
    assert [layer.attention.self.num_attention_heads for layer in layers] == [4, 2, 4]
    assert [layer.attention.self.all_head_size for layer in layers] == [32, 16, 32]
    assert layers[1].attention.self.query.weight.shape == (16, 32)
    assert layers[2].intermediate.dense.out_features == 46


def test_resnet_channels_zeroed_by_hand():
    module, inputs, task = make("resnet")
    groups = traced_groups(module, task=task, inputs=inputs)[0]
    inner = next(i for i, g in enumerate(groups) if g.name == "stages.0.0.conv1")
    units = [torch.tensor([], dtype=torch.long)] * len(groups)
    units[inner] = torch.tensor([1, 5, 6])
    smaller = cut(module, groups, units)
    by_hand = copy.deepcopy(module)
    zero_by_hand(by_hand, [(by_hand.stages[0][0].conv2.weight, 1, [1, 5, 6])])
    with torch.no_grad():
        wanted, answer = task.logits(by_hand, inputs), task.logits(smaller, inputs)
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-6)
    block = smaller.stages[0][0]
    assert (block.conv1.out_channels, block.bn1.num_features, block.conv2.in_channels) == (9, 9, 9)
    assert block.bn1.running_var.shape == (9,)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_target_is_met_and_nothing_else_changes(name, scope):
    module, inputs, task = make(name)
    next(module.parameters()).requires_grad_(False)
    before = copy.deepcopy(module.state_dict())
    frozen = {n: p.requires_grad for n, p in module.named_parameters()}
    result = prune(
        module,
        CutOptions(target=Target(macs=0.5), scope=scope, round_to=1),
        example_inputs=inputs,
        task=task,
    )
    assert result.after.macs == pytest.approx(0.5 * result.before.macs, rel=0.02)
    assert result.after.params == sum(p.numel() for p in result.module.parameters())
    assert {n: p.requires_grad for n, p in result.module.named_parameters()} == frozen
    assert not result.module.training
    assert module.state_dict().keys() == before.keys()
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])
    with torch.no_grad():
        assert task.logits(result.module, inputs).shape == task.logits(module, inputs).shape


def test_a_pruned_model_can_be_pruned_again_and_trained():
    module, inputs, task = make("bert")
    once = prune(
        module, CutOptions(target=Target(params=0.8), round_to=1), example_inputs=inputs, task=task
    )
    twice = prune(
        once.module,
        CutOptions(target=Target(params=0.9), round_to=1),
        example_inputs=inputs,
        task=task,
    )
    assert twice.after.params == pytest.approx(0.72 * once.before.params, rel=0.03)
    task.logits(twice.module.train(), inputs).sum().backward()
    assert all(p.grad is not None for p in twice.module.parameters() if p.requires_grad)


def test_the_same_call_cuts_the_same():
    module, inputs, task = make("resnet")
    made = [
        prune(
            module,
            CutOptions(target=Target(macs=0.6), round_to=2),
            example_inputs=inputs,
            task=task,
        )
        for _ in range(2)
    ]
    assert made[0].notes == made[1].notes
    states = [result.module.state_dict() for result in made]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


class Branches(nn.Module):
    """Concatenation, depthwise and transposed convolution, a flattened linear layer, a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(1, 8, 3, padding=1)
        self.right = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.deep = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.act = nn.PReLU(16)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.wide = nn.Linear(8 * 16, 24)
        self.out = nn.Linear(24, 3)

    def forward(self, images: Tensor) -> Tensor:
        left = torch.sigmoid(self.left(images))
        both = self.norm(torch.cat([left, self.right(left)], 1))
        hidden = self.up(self.act(self.deep(both)))
        hidden = nn.functional.adaptive_avg_pool2d(hidden, 4).flatten(1)
        answer: Tensor = self.out(torch.sigmoid(self.wide(hidden)))
        return answer


def test_branching_networks():
    torch.manual_seed(0)
    module = shake_batch_norms(Branches())
    inputs = {"pixel_values": torch.rand(2, 1, 8, 8)}
    groups, alone = traced_groups(module, task=IMAGE, inputs=inputs)
    assert {group.name for group in groups} == {"left", "right", "up", "wide"}
    assert alone == ("left alone, as they make the model's output: out.",)
    units = [torch.tensor([0, 3]), torch.tensor([7]), torch.tensor([2, 4]), torch.tensor([5])]
    smaller = cut(module, groups, units)
    with torch.no_grad():
        wanted = IMAGE.logits(mask(module, groups, units), inputs)
        answer = IMAGE.logits(smaller, inputs)
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-6)
    assert smaller.deep.groups == smaller.deep.in_channels == smaller.norm.num_features == 13
    assert smaller.wide.in_features == 6 * 16
