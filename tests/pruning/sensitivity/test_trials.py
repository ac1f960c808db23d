"""What groups cost when they are cut."""

import json
import math

import pytest
import torch
from torch import nn

from compress.errors import DataError, InputError, StageError
from compress.models.structure.cut import cut, mask
from compress.models.structure.find import find_groups
from compress.models.structure.groups import Group, Slice
from compress.models.structure.masking import without
from compress.models.structure.transformers.groups import prunable
from compress.pruning.sensitivity.divergence import distances
from compress.pruning.sensitivity.losses import GroupSensitivity, Sensitivity
from compress.pruning.sensitivity.trials import ValidationSamples, measure_sensitivity
from tests.models.structure.family_models import MODELS, family_model
from tests.models.structure.traced_models import BUILT, built
from tests.pruning.importance.models import IMAGE, assert_same_state, state
from tests.pruning.sensitivity.models import GRID, chain, data, layers, magnitudes, samples

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


@pytest.mark.parametrize("name", [name for name in sorted(MODELS) if name != "swin"])
def test_without_is_mask_and_leaves_no_trace(name):
    module, _, inputs, task = family_model(name)
    can = prunable(name.split(",")[0])
    kinds = [unit for unit in KINDS if unit != "hidden" or task.name != "feature-extraction"]
    kinds = [unit for unit in kinds if can[unit] is None]
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


@pytest.mark.parametrize("name", sorted(BUILT))
def test_without_is_mask_for_traced_modules(name):
    module, inputs = built(name)
    before = state(module)
    with torch.no_grad():
        groups = find_groups(module, task=IMAGE, inputs=inputs, units=None).groups
        for group in groups[:3] + groups[-1:]:
            gone = torch.arange(group.units)[::2]
            wanted = IMAGE.logits(mask(module, [group], [gone]), inputs)
            with without(module, group, gone):
                assert torch.equal(IMAGE.logits(module, inputs), wanted), group.name
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
                assert divergence == pytest.approx(apart / weight, rel=1e-5, abs=1e-7)
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
        samples=ValidationSamples(task, [batch], metric),
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
