"""What groups cost when they are cut, and how a target is spent by it."""

import json
import math

import pytest
import torch
from family_models import MODELS, family_model
from hypothesis import given, settings
from hypothesis import strategies as st
from importance_models import IMAGE, assert_same_state, state
from torch import nn

from compress.errors import DataError, InputError, StageError
from compress.pruning.allocation import ranking_by_sensitivity
from compress.pruning.cost import CostModel
from compress.pruning.cut import cut, mask
from compress.pruning.divergence import distances
from compress.pruning.find import find_groups
from compress.pruning.groups import Group, Slice, block_index, cut_units
from compress.pruning.importance.scores import scores
from compress.pruning.masking import without
from compress.pruning.search import choices, rank, search
from compress.pruning.sensitivity import GroupSensitivity, Sensitivity
from compress.pruning.trials import Samples, measure_sensitivity

GRID = (0.25, 0.5, 0.75)
KINDS = ("heads", "feed_forward", "hidden")


class Counted:
    """A progress that knows how many steps were made."""

    def __init__(self):
        self.total = self.steps = 0

    def track(self, description, total):
        self.total = total
        return self

    def __enter__(self):
        def advance(steps=1, *, info=""):
            self.steps += steps

        return advance

    def __exit__(self, *error):
        return None

    def say(self, line):
        raise AssertionError(line)


class Calls(nn.Module):
    """Counts the samples that its module answers."""

    def __init__(self, module):
        super().__init__()
        self.module, self.samples = module, 0

    def forward(self, x):
        self.samples += len(x)
        return self.module(x)


def chain(*, useless=1, units=8, seed=0):
    """Three layers of as many neurons, each added to what it reads; one of them does nothing."""
    torch.manual_seed(seed)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.down = nn.Linear(6, units), nn.Linear(units, 6)

        def forward(self, x):
            return x + self.down(torch.tanh(self.up(x)))

    module = nn.Sequential(*(Block() for _ in range(3)), nn.Linear(6, 4)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
        # Its weights are the largest, so that their magnitude says the opposite.
        module[useless].up.weight.mul_(5)
        module[useless].down.weight.zero_()
    return module


def layers(module, *, units=8):
    index = block_index(units, 1)
    return [
        Group(
            f"{place}.up",
            "feed_forward",
            units,
            (
                Slice(f"{place}.up", "weight", 0, index),
                Slice(f"{place}.up", "bias", 0, index),
                Slice(f"{place}.down", "weight", 1, index),
            ),
        )
        for place in range(len(module) - 1)
    ]


def data(samples=48, *, size=16, made=4):
    torch.manual_seed(3)
    values, labels = torch.randn(samples, 6), torch.randint(made, (samples,))
    return [
        {"x": values[i : i + size], "labels": labels[i : i + size]} for i in range(0, samples, size)
    ]


def samples(loader=None, metric="agreement"):
    return Samples(IMAGE, data() if loader is None else loader, metric)


def magnitudes(module, groups):
    return scores(module, groups, criterion="magnitude", seed=0)


@pytest.mark.parametrize("name", [name for name in sorted(MODELS) if name != "swin"])
def test_without_is_mask_and_leaves_no_trace(name):
    module, _, inputs, task = family_model(name)
    kinds = [unit for unit in KINDS if unit != "hidden" or task.name != "feature-extraction"]
    groups = find_groups(module, task=task, inputs=inputs, units=kinds).groups
    before = state(module)
    with torch.no_grad():
        for group in groups[:1] + groups[-2:]:
            gone = torch.arange(group.units)[1::3]
            wanted = task.logits(mask(module, [group], [gone]), inputs)
            with without(module, group, gone):
                answer = task.logits(module, inputs)
            assert torch.equal(answer, wanted), group.name
            assert not torch.equal(answer, task.logits(module, inputs)), group.name
    assert_same_state(module, before)


def test_without_leaves_no_trace_after_an_error():
    module = chain()
    before = state(module)
    with pytest.raises(ZeroDivisionError), without(module, layers(module)[0], torch.tensor([1])):
        _ = 1 / 0
    assert_same_state(module, before)


def test_figures_are_those_of_models_that_are_cut():
    module = chain().train()
    groups = layers(module)
    before, progress = state(module), Counted()
    rated = magnitudes(module, groups)
    found = measure_sensitivity(
        module, groups, rated, samples=samples(), ratios=GRID, progress=progress
    )
    assert_same_state(module, before)
    assert progress.steps == progress.total == 3 * (1 + 3 * 3)
    assert (found.metric, found.baseline, found.samples) == ("agreement", 1.0, 48)
    (whole,) = data(size=48)
    with torch.no_grad():
        wanted = module(whole["x"])
        for place, each in enumerate(found.groups):
            assert (each.cut, each.ratios) == ((2, 4, 6), GRID)
            order = rated[place].argsort(stable=True)
            for count, quality, divergence in zip(
                each.cut, each.quality, each.divergence, strict=True
            ):
                smaller = cut(module, [groups[place]], [order[:count]])
                answer = smaller(whole["x"])
                same = (answer.argmax(1) == wanted.argmax(1)).double().mean().item()
                apart, weight = distances(wanted, answer, batch=whole, target="class")
                assert quality == pytest.approx(same)
                assert divergence == pytest.approx(apart / weight, abs=1e-9)
    assert found.groups[1].divergence == (0, 0, 0)
    assert min(found.groups[0].divergence) > 0


def test_every_sample_is_answered_once_for_each_cut():
    counted = Calls(chain())
    groups = [
        Group(
            g.name,
            g.kind,
            g.units,
            tuple(Slice(f"module.{s.module}", s.tensor, s.dim, s.index) for s in g.slices),
        )
        for g in layers(counted.module)
    ]
    measure_sensitivity(
        counted, groups, magnitudes(counted, groups), samples=samples(), ratios=GRID
    )
    assert counted.samples == 48 * (1 + 3 * 3)


@pytest.mark.parametrize("name", ["bert, tokens", "qwen2", "t5, features", "vit"])
def test_every_kind_of_answer_is_compared(name):
    module, _, inputs, task = family_model(name)
    batch = {key: value.repeat(3, *[1] * (value.dim() - 1)) for key, value in inputs.items()}
    torch.manual_seed(2)
    if task.target == "none":
        batch["input_ids"] = torch.randint(3, 40, (6, 10))
    if task.target == "next-token":
        batch["labels"] = batch["input_ids"].where(batch["attention_mask"].bool(), -100)
    metric = {"next-token": "perplexity", "none": "spearman"}.get(task.target, "agreement")
    groups = find_groups(module, task=task, inputs=inputs, units=None).groups
    found = measure_sensitivity(
        module,
        groups,
        magnitudes(module, groups),
        samples=Samples(task, [batch], metric),
        ratios=[0.25, 0.9],
    )
    assert found.higher_is_better == (metric != "perplexity")
    assert [each.name for each in found.groups] == [group.name for group in groups]
    for each in found.groups:
        assert each.cut[-1] < each.units
        assert all(0 < value < math.inf for value in each.divergence)
        assert None not in each.quality


def test_accuracy_needs_labels_and_a_known_name():
    module = chain()
    groups = layers(module)
    rated = magnitudes(module, groups)
    unlabelled = [{"x": batch["x"], "labels": batch["labels"] * 0 - 100} for batch in data()]
    with pytest.raises(DataError, match="no samples to measure accuracy"):
        measure_sensitivity(
            module, groups, rated, samples=samples(unlabelled, "accuracy"), ratios=GRID
        )
    with pytest.raises(InputError, match="unknown metric 'bleu'"):
        measure_sensitivity(module, groups, rated, samples=samples(None, "bleu"), ratios=GRID)


def test_a_model_that_answers_no_numbers_is_refused():
    module = chain()
    groups = layers(module)
    rated = magnitudes(module, groups)
    with torch.no_grad():
        module[-1].bias[0] = float("inf")
    with pytest.raises(StageError, match="aren't all numbers"):
        measure_sensitivity(module, groups, rated, samples=samples(), ratios=GRID)


def test_small_groups_keep_a_unit_and_lose_one():
    module = chain(units=2)
    groups = layers(module, units=2)
    found = measure_sensitivity(
        module, groups, magnitudes(module, groups), samples=samples(), ratios=(0.1, 0.9)
    )
    assert {each.cut for each in found.groups} == {(1,)}


def test_it_goes_through_json(tmp_path):
    groups = (
        GroupSensitivity("a", "heads", 4, (1, 3), (0.9, None), (0.01, math.inf)),
        GroupSensitivity("b", "hidden", 1, (), (), ()),
    )
    sensitivity = Sensitivity("accuracy", True, 0.93, "nats", 256, groups)
    path = sensitivity.write(tmp_path)
    values = json.loads(path.read_text(encoding="utf-8"))
    assert path.name == "sensitivity.json"
    assert values["schema"] == 1
    assert values["groups"][0]["ratios"] == [0.25, 0.75]
    assert values["groups"][0]["divergence"] == [0.01, None]
    assert Sensitivity.from_dict(values) == sensitivity
    with pytest.raises(StageError, match=r"'schema' must be 1\. Got 2"):
        Sensitivity.from_dict(values | {"schema": 2})


def spent(module, groups, ranking, *, left):
    """How many units of each group go for a fraction of the MACs, and what the answers lose."""
    inputs = {"x": data()[0]["x"][:1]}
    model = CostModel(module, groups, task=IMAGE, inputs=inputs)
    counts = search(
        ranking,
        lambda counts: float(model.predict(counts).macs),
        target=left * model.total.macs,
        choices=choices(groups, max_ratio=1.0, round_to=1),
    )
    (whole,) = data(size=48)
    smaller = cut(module, groups, cut_units(ranking.order, counts))
    with torch.no_grad():
        apart, weight = distances(
            module(whole["x"]), smaller(whole["x"]), batch=whole, target="class"
        )
    return counts, model.predict(counts).macs, apart / weight


@pytest.mark.parametrize("useless", [0, 1, 2])
def test_auto_spends_the_target_where_nothing_is_lost(useless):
    module = chain(useless=useless, units=16)
    groups = layers(module, units=16)
    rated = magnitudes(module, groups)
    found = measure_sensitivity(module, groups, rated, samples=samples(), ratios=GRID)
    inputs = {"x": data()[0]["x"][:1]}
    model = CostModel(module, groups, task=IMAGE, inputs=inputs)
    auto = ranking_by_sensitivity(
        groups, rated, found, lambda counts: float(model.predict(counts).macs)
    )
    counts, macs, lost = spent(module, groups, auto, left=0.8)
    assert [place for place, count in enumerate(counts) if count] == [useless]
    assert lost == pytest.approx(0, abs=1e-9)
    for left in (0.8, 0.6, 0.4):
        _, macs, lost = spent(module, groups, auto, left=left)
        _, other_macs, other = spent(module, groups, rank(groups, rated, scope="global"), left=left)
        assert macs == other_macs
        assert lost < other


def plain(name, units):
    return Group(name, "feed_forward", units, ())


def measured(group, divergence, ratios=GRID):
    cuts = tuple(round(ratio * group.units) for ratio in ratios)
    return GroupSensitivity(
        group.name, group.kind, group.units, cuts, tuple(1.0 for _ in cuts), tuple(divergence)
    )


def ranked(groups, curves, prices):
    rated = [torch.rand(group.units) for group in groups]
    sensitivity = Sensitivity("accuracy", True, 1.0, "nats", 1, tuple(curves))
    return ranking_by_sensitivity(
        groups,
        rated,
        sensitivity,
        lambda counts: 1000 - sum(c * p for c, p in zip(counts, prices, strict=True)),
    )


def cut_first(ranking, share):
    """How many units of each group are among the first `share` of all."""
    return [sum(key < share for key in keys) for keys in ranking.keys]


def test_the_price_of_a_unit_counts():
    groups = [plain("cheap", 8), plain("dear", 8)]
    curves = [measured(group, (0.1, 0.3, 0.6)) for group in groups]
    assert cut_first(ranked(groups, curves, (1, 4)), 0.25) == [1, 3]
    assert cut_first(ranked(groups, curves, (4, 1)), 0.25) == [3, 1]
    assert cut_first(ranked(groups, curves, (1, 1)), 0.25) == [2, 2]


def test_what_was_not_measured_goes_last():
    groups = [plain("free", 8), plain("vital", 8)]
    curves = [measured(groups[0], (0, 0, 0)), measured(groups[1], (1, 5, math.inf))]
    ranking = ranked(groups, curves, (1, 1))
    assert cut_first(ranking, 10 / 16) == [6, 4]
    assert cut_first(ranking, 12 / 16) == [8, 4], "the cheaper of what is unknown goes first"


def test_noise_in_a_curve_is_smoothed():
    """The middle point lies above the line, so the group costs what the line says."""
    groups = [plain("bent", 8), plain("straight", 8)]
    curves = [measured(groups[0], (0.5, 0.5, 0.6)), measured(groups[1], (0.2, 0.4, 0.6))]
    assert cut_first(ranked(groups, curves, (1, 1)), 0.5) == [4, 4]


def test_groups_of_one_unit_and_of_other_names():
    groups = [plain("one", 1), plain("two", 8)]
    curves = [measured(groups[0], (), ()), measured(groups[1], (0.1, 0.2, 0.3))]
    ranking = ranked(groups, curves, (1, 1))
    assert ranking.keys[0] == [8 / 9]
    with pytest.raises(StageError, match="isn't one of two"):
        ranked(groups, [curves[0], measured(plain("two", 9), (0.1, 0.2, 0.3))], (1, 1))


@settings(deadline=None, max_examples=60)
@given(
    curves=st.lists(
        st.tuples(st.integers(1, 20), st.lists(st.floats(0, 10), min_size=3, max_size=3)),
        min_size=1,
        max_size=4,
    ),
    seed=st.integers(0, 99),
)
def test_keys_rise_along_every_order(curves, seed):
    torch.manual_seed(seed)
    groups = [plain(str(place), units) for place, (units, _) in enumerate(curves)]
    drawn = []
    for group, (_, values) in zip(groups, curves, strict=True):
        cuts = sorted({min(max(1, round(r * group.units)), group.units - 1) for r in GRID} - {0})
        values = values[: len(cuts)]
        drawn.append(
            GroupSensitivity(
                group.name, group.kind, group.units, tuple(cuts), tuple(values), tuple(values)
            )
        )
    ranking = ranked(groups, drawn, [float(p) for p in torch.rand(len(groups)) + 0.1])
    every = sorted(key for keys in ranking.keys for key in keys)
    total = sum(group.units for group in groups)
    assert every == [place / total for place in range(total)]
    for group, keys, order in zip(groups, ranking.keys, ranking.order, strict=True):
        assert keys == sorted(keys)
        assert sorted(order.tolist()) == list(range(group.units))
