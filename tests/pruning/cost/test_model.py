"""Parameters and MACs: predicted, they are what is counted after the cut."""

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from compress.errors import StageError
from compress.models.structure.cut import cut
from compress.models.structure.find import find_groups
from compress.models.structure.groups import Group, Slice, block_index
from compress.models.structure.transformers.families import family
from compress.models.structure.transformers.groups import family_groups, prunable
from compress.pruning.cost.model import CostModel, count_cost, count_params
from compress.pruning.options import CutOptions, Target
from compress.pruning.prune import prune
from compress.tasks.task import task
from tests.models.structure.family_models import MODELS, example, family_model
from tests.models.structure.small_models import IMAGE, make
from tests.models.structure.traced_models import Dense


def every_group(name, *, layers=2):
    module, _, inputs, task = family_model(name, layers=layers)
    can = prunable(family(module))
    groups = family_groups(module, units=[unit for unit in can if can[unit] is None])
    return module, inputs, task, groups


def require_foretold(module, groups, *, task, inputs, counts):
    model = CostModel(module, groups, task=task, inputs=inputs)
    assert model.predict([0] * len(groups)) == model.total
    smaller = cut(module, groups, [torch.arange(count) for count in counts])
    assert model.predict(counts) == count_cost(smaller, task=task, inputs=inputs)


@pytest.mark.parametrize("name", list(MODELS))
def test_of_every_family_all_units_at_once(name):
    module, inputs, task, groups = every_group(name)
    counts = [group.units // (2 + number % 3) for number, group in enumerate(groups)]
    assert any(counts)
    require_foretold(module, groups, task=task, inputs=inputs, counts=counts)


@settings(deadline=None, max_examples=15)
@given(data=st.data(), name=st.sampled_from(["bert", "gpt2", "qwen3", "swin", "t5, gated"]))
def test_of_any_counts(data, name):
    module, inputs, task, groups = every_group(name)
    counts = [data.draw(st.integers(0, group.units - 1)) for group in groups]
    require_foretold(module, groups, task=task, inputs=inputs, counts=counts)


@pytest.mark.parametrize("name", ["resnet", "dense"])
def test_of_traced_networks(name):
    inputs = {"pixel_values": torch.rand(1, 1, 12, 12)}
    module = make("resnet")[0] if name == "resnet" else Dense().eval()
    groups = find_groups(module, task=IMAGE, inputs=inputs, units=None).groups
    counts = [group.units // (2 + number % 3) for number, group in enumerate(groups)]
    require_foretold(module, groups, task=IMAGE, inputs=inputs, counts=counts)


def test_positions_that_go_into_attention_as_they_are_stored_are_foretold():
    """DeBERTa's own defaults: its table of relative positions isn't normalised first."""
    class_name, values, kind = MODELS["deberta-v2"]
    model_class = getattr(transformers, class_name)
    torch.manual_seed(0)
    module = model_class(model_class.config_class(**values | {"norm_rel_ebd": "none"})).eval()
    options = CutOptions(target=Target(macs=0.7))
    made = prune(module, options, example_inputs=example(kind), task=task(kind))
    assert made.after.macs == pytest.approx(0.7 * made.before.macs, rel=0.05)


def test_a_transformer_encoder_costs_what_is_foretold():
    """nn.TransformerEncoder runs by one fused operator in eval mode, while nothing of it is cut."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    module = Tokens(nn.TransformerEncoder(layer, 2)).eval()
    images = {"pixel_values": torch.rand(1, 1, 4, 8)}
    found = find_groups(module, task=IMAGE, inputs=images, units=None).groups
    names = [f"body.layers.{n}.{part}" for n in (0, 1) for part in ("self_attn", "linear1")]
    assert [group.name for group in found] == names
    require_foretold(module, found, task=IMAGE, inputs=images, counts=[0, 5, 1, 9])
    whole = 2 * 4 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * 2 * 4 * 4 * 8 + 8 * 3
    assert CostModel(module, found, task=IMAGE, inputs=images).total.macs == whole


class Tokens(nn.Module):
    """The rows of an image as tokens, to a body, and their mean to a head."""

    def __init__(self, body):
        super().__init__()
        self.body, self.out = body, nn.Linear(8, 3)

    def forward(self, pixel_values):
        return self.out(self.body(pixel_values.squeeze(1)).mean(1))


class Odd(nn.Module):
    """A convolution in four groups, a depthwise one, a concatenation, a layer called twice, and a
    weight that no layer of its own multiplies with."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 8, 3, padding=1)
        self.other = nn.Conv2d(1, 4, 3, padding=1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.up = nn.ConvTranspose2d(12, 6, 2, stride=2)
        self.grouped = nn.Conv2d(6, 16, 3, padding=1, groups=2)
        self.twice = nn.Linear(16, 16)
        self.free = nn.Parameter(torch.rand(5, 16))

    def forward(self, images):
        hidden = torch.cat([self.one(images), self.other(images)], dim=1)
        hidden = self.grouped(self.up(self.depthwise(hidden))).mean((2, 3))
        return functional.linear(self.twice(self.twice(hidden)), self.free)


def odd_groups():
    one, other = block_index(8, 1), block_index(4, 1)
    concatenated = [
        Group(
            name,
            "channels",
            len(index),
            (
                Slice(name, "weight", 0, index),
                Slice(name, "bias", 0, index),
                Slice("depthwise", "weight", 0, index + start),
                Slice("depthwise", "bias", 0, index + start),
                Slice("up", "weight", 0, index + start),
            ),
        )
        for name, index, start in (("one", one, 0), ("other", other, 8))
    ]
    # A unit is one channel of each of the two convolution groups.
    pair = torch.tensor([[n, n + 3] for n in range(3)])
    read = (
        Slice("up", "weight", 1, block_index(6, 1)[pair].squeeze(-1)),
        Slice("up", "bias", 0, pair),
        Slice("grouped", "weight", 1, block_index(3, 1)),
    )
    made = torch.tensor([[n, n + 8] for n in range(8)])
    square = (
        Slice("grouped", "weight", 0, made),
        Slice("grouped", "bias", 0, made),
        Slice("twice", "weight", 0, made),
        Slice("twice", "weight", 1, made),
        Slice("twice", "bias", 0, made),
        Slice("", "free", 1, made),
    )
    return [
        *concatenated,
        Group("up", "channels", 3, read),
        Group("grouped", "channels", 8, square),
    ]


def odd_cost(*, one, other, up, grouped):
    """By hand, for images of 6 by 6."""
    cat = one + other
    params = 10 * cat + 10 * cat + cat * up * 4 + up
    params += grouped * up // 2 * 9 + grouped + grouped * grouped + grouped + 5 * grouped
    macs = 36 * 9 * cat + 36 * 9 * cat + 36 * 4 * cat * up
    macs += 144 * 9 * grouped * up // 2 + 2 * grouped * grouped + 5 * grouped
    return params, macs


@given(counts=st.tuples(st.integers(0, 7), st.integers(0, 3), st.integers(0, 2), st.integers(0, 7)))
@settings(deadline=None, max_examples=30)
def test_of_odd_layers_by_hand(counts):
    model = CostModel(
        Odd().eval(), odd_groups(), task=IMAGE, inputs={"pixel_values": torch.rand(1, 1, 6, 6)}
    )
    cost = model.predict(counts)
    one, other, up, grouped = counts
    wanted = odd_cost(one=8 - one, other=4 - other, up=6 - 2 * up, grouped=16 - 2 * grouped)
    assert (cost.params, cost.macs) == wanted


def test_groups_that_share_a_dimension_in_part_are_refused():
    whole = Group("0", "channels", 4, (Slice("0", "weight", 0, block_index(4, 1)),))
    part = Group("0", "channels", 2, (Slice("0", "weight", 0, block_index(2, 1)),))
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 4))
    moved = [
        Group(
            g.name, g.kind, g.units, tuple(Slice("1", s.tensor, s.dim, s.index) for s in g.slices)
        )
        for g in (whole, part)
    ]
    with pytest.raises(StageError, match=r"1\.weight, dimension 0 \(4 wide\).*2 groups.* 1 have"):
        CostModel(module, moved, task=IMAGE, inputs={"pixel_values": torch.rand(1, 1, 2, 2)})


def test_attentions_that_differ_are_counted_each():
    """After an uneven cut, one layer's heads take more than another's."""
    module, inputs, task, _ = every_group("bert")
    groups = family_groups(module, units=("heads",))
    uneven = cut(module, groups, [torch.arange(3), torch.arange(0)])
    left = family_groups(uneven, units=("heads",))
    assert [group.units for group in left] == [1, 4]
    require_foretold(uneven, left, task=task, inputs=inputs, counts=[0, 2])


def test_attention_is_counted():
    module, inputs, task = make("bert")
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
