"""Pruning in steps, after penalties, by ratios, by sensitivity, and to measured targets."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from compress.data.spec import DataSpec
from compress.errors import StageError, TargetError
from compress.models.spec import ModelSpec
from compress.pruning.cost.model import count_cost, count_params
from compress.stages.prune.meter import OnnxMeter
from compress.stages.prune.stage import Prune
from tests.stages.digits import accuracy, trained

MODEL, DIGITS = ModelSpec(transformers="a"), DataSpec(sklearn="digits")
TRAINING = {"epochs": 1, "batch_size": 64, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A trained network for digits, and its context."""
    return trained(tmp_path_factory.mktemp("train"), epochs=4)


def prune(problem, directory: Path, **fields):
    trained, context = problem
    stage = Prune.model_validate({"recovery": None} | fields)
    return stage.apply(trained, replace(context, directory=directory))


def notes_with(artifact, word):
    return [note for note in artifact.notes if word in note]


def test_steps_end_at_the_target_and_train_between(problem, tmp_path):
    schedule = {"steps": 3, "curve": "linear", "training": TRAINING}
    made = prune(
        problem,
        tmp_path,
        target={"params": 0.4},
        round_to=1,
        schedule=schedule,
        recovery={"training": TRAINING},
    )
    whole = count_params(problem[0].module)
    assert count_params(made.module) == pytest.approx(0.4 * whole, rel=0.02)
    cuts = notes_with(made, "MACs")
    assert [note[:12] for note in cuts] == ["step 1 of 3:", "step 2 of 3:", "step 3 of 3:"]
    assert "(80." in cuts[0] or "(79." in cuts[0]
    assert len(notes_with(made, "kept epoch")) == 3
    assert accuracy(made.module) > 0.85


def test_steps_never_go_beyond_the_largest_ratio_of_the_whole_model(problem, tmp_path):
    made = prune(
        problem,
        tmp_path,
        target={"params": 0.5},
        max_ratio={"stages.0.*": 0.25},
        schedule={"steps": 2, "training": TRAINING},
        recovery={"training": TRAINING},
        round_to=1,
    )
    before = problem[0].module.stages[0][0].conv1.out_channels
    assert made.module.stages[0][0].conv1.out_channels >= 0.75 * before


def test_a_growing_penalty_empties_what_will_go(problem, tmp_path):
    fields = {"target": {"macs": 0.6}, "round_to": 1}
    cut = prune(problem, tmp_path, **fields)
    pressed = prune(
        problem,
        tmp_path,
        **fields,
        regularization={
            "penalty": "growing",
            "strength": 1.0,
            "training": TRAINING | {"epochs": 3},
        },
    )
    shapes = [tuple(p.shape) for p in cut.module.parameters()]
    assert [tuple(p.shape) for p in pressed.module.parameters()] == shapes
    assert accuracy(pressed.module) > accuracy(cut.module)
    assert notes_with(pressed, "before the cut: kept epoch")


def test_group_lasso_trains_before_it_chooses(problem, tmp_path):
    made = prune(
        problem,
        tmp_path,
        target={"macs": 0.6},
        regularization={"penalty": "group_lasso", "strength": 1e-4, "training": TRAINING},
    )
    assert notes_with(made, "before the cut: kept epoch")
    history = json.loads((tmp_path / "training.json").read_text())
    assert "group_lasso" in json.dumps(history)


def test_ratios_by_pattern(problem, tmp_path):
    made = prune(problem, tmp_path, ratios={"stages.0.*": 0.5, "conv": 0.0})
    assert made.module.stages[0][0].conv1.out_channels == 8
    assert made.module.stages[1][0].conv1.out_channels == 32
    with pytest.raises(StageError, match=r"'layer\*' matches nothing .*stages"):
        prune(problem, tmp_path, ratios={"layer*": 0.5})


def test_ratios_in_steps_multiply(problem, tmp_path):
    made = prune(
        problem,
        tmp_path,
        ratios={"stages.1.*": 0.75},
        schedule={"steps": 2, "curve": "linear", "training": TRAINING},
        recovery={"training": TRAINING},
        round_to=1,
    )
    assert made.module.stages[1][0].conv1.out_channels == 8


@pytest.mark.parametrize("criterion", ["taylor", "hessian", "activation"])
def test_criteria_that_read_data(problem, tmp_path, criterion):
    fields = {"target": {"macs": 0.6}, "importance": criterion, "round_to": 1}
    made = prune(problem, tmp_path, **fields, calibration={"samples": 256, "batch_size": 16})
    again = prune(problem, tmp_path, **fields, calibration={"samples": 256, "batch_size": 64})
    for mine, other in zip(made.module.parameters(), again.module.parameters(), strict=True):
        assert torch.equal(mine, other)
    if criterion != "activation":  # which these few samples tell no better than chance
        trained, context = problem
        fields["importance"] = "random"
        random = [
            accuracy(prune((trained, replace(context, seed=seed)), tmp_path, **fields).module)
            for seed in range(4)  # one cut at random may be lucky
        ]
        assert accuracy(made.module) > sum(random) / len(random)


def test_fewer_samples_than_asked_for_are_noted(problem, tmp_path):
    fields = {"target": {"macs": 0.6}, "importance": "activation", "round_to": 1}
    made = prune(problem, tmp_path, **fields, calibration={"samples": 10_000})
    [note] = notes_with(made, "importance by activation")
    assert "on 512 calibration samples (of 10000 asked for)" in note


def test_sensitivity_is_left_for_the_report_and_spends_a_target(problem, tmp_path):
    sensitivity = {"samples": 100, "ratios": [0.25, 0.5, 0.75]}
    fields = {"target": {"macs": 0.5}, "sensitivity": sensitivity, "round_to": 1}
    plain = prune(problem, tmp_path, **fields)
    left = json.loads((tmp_path / "sensitivity.json").read_text())
    assert left["schema"] == 1
    assert left["metric"] == "accuracy"
    assert left["baseline"] > 0.9
    assert {"conv", "stages.0.0.conv1", "stages.1.0.conv1"} <= {g["name"] for g in left["groups"]}
    auto = prune(problem, tmp_path, **fields, ratios="auto")
    shapes = [[tuple(p.shape) for p in made.module.parameters()] for made in (auto, plain)]
    assert shapes[0] != shapes[1]
    assert accuracy(auto.module) > 0.5


def test_size_is_of_the_file(problem, tmp_path):
    made = prune(problem, tmp_path, target={"size": 0.5}, round_to=1)
    [note] = notes_with(made, "size:")
    assert float(note.split()[1]) == pytest.approx(0.5, rel=0.02)


def test_latency_is_what_the_meter_measures(problem, tmp_path, monkeypatch):
    """Times of so small a model are of calls, not of products: here they go by MACs."""
    asked = []

    def macs(module):
        image = {"pixel_values": torch.zeros(1, 1, 8, 8)}
        return count_cost(module, task=problem[1].task, inputs=image).macs

    def ratio(self, module, original):
        asked.append(self.batch_size)
        return macs(module) / macs(original)

    monkeypatch.setattr(OnnxMeter, "latency_ratio", ratio)
    fields = {"target": {"latency": 0.6}, "latency": {"batch_size": 4}, "round_to": 1}
    made = prune(problem, tmp_path, **fields)
    assert macs(made.module) == pytest.approx(0.6 * macs(problem[0].module), rel=0.05)
    assert set(asked) == {4}
    [note] = notes_with(made, "latency:")
    assert "at batch size 4" in note


def test_a_dry_run_tells_structure_and_what_is_impossible(problem):
    trained, context = problem
    shape = Prune.model_validate({"target": {"macs": 0.5}, "ratios": "auto"})
    dry = shape.dry_run(trained, context)
    assert count_params(dry.module) < count_params(trained.module)
    with pytest.raises(TargetError, match="can't be met"):
        Prune.model_validate({"target": {"macs": 0.001}}).dry_run(trained, context)
    assert Prune.model_validate({"target": {"latency": 0.5}}).dry_run(trained, context) is None


def test_the_check_says_what_a_ratio_means():
    stage = Prune.model_validate({"ratios": {"*": 0.5}})
    [line] = stage.warnings(task="image-classification", model=MODEL, data=DIGITS)
    assert "0.5 takes 75% of the parameters" in line
    latency = Prune.model_validate({"target": {"latency": 0.5}})
    [line] = latency.warnings(task="image-classification", model=MODEL, data=DIGITS)
    assert "batch size 1" in line


def test_labels_are_missed_before_the_run():
    stage = Prune.model_validate(
        {"target": {"macs": 0.5}, "importance": "taylor", "recovery": None}
    )
    [(key, problem)] = stage.check(task="feature-extraction", model=MODEL, data=DIGITS)
    assert key == "importance"
    assert "needs labels" in problem


@pytest.mark.parametrize(
    "fields",
    [
        {"ratios": "auto"},
        {"target": {"macs": 0.5}, "ratios": {"*": 0.5}},
        {"ratios": {"*": 0.0}},
        {"ratios": {"*": 1.0}},
        {"target": {"macs": 0.5}, "schedule": {"steps": 2}, "recovery": None},
        {
            "target": {"macs": 0.5},
            "schedule": {"steps": 2},
            "regularization": {"penalty": "growing"},
        },
        {"target": {"macs": 0.5}, "importance": "beauty"},
    ],
)
def test_what_does_not_go_together_is_refused(fields):
    with pytest.raises(ValidationError):
        Prune.model_validate(fields)


def test_summaries():
    def summary(**fields):
        return Prune.model_validate({"recovery": None} | fields).summarize()

    assert summary(ratios={"a.*": 0.5, "*": 0.25}) == "remove 0.5 of a.*, 0.25 of *; recovery: none"
    auto = summary(target={"macs": 0.5}, ratios="auto", importance="taylor")
    assert auto == "keep 0.5 of macs, spent by sensitivity by taylor; recovery: none"
    pressed = summary(target={"params": 0.5}, regularization={})
    assert pressed == "keep 0.5 of params after growing; recovery: none"


def test_a_step_that_an_earlier_one_has_done_cuts_nothing(problem, tmp_path):
    """Of coarse units the first step may take as much as all of them."""
    schedule = {"steps": 3, "curve": "linear", "training": TRAINING}
    fields = {"target": {"macs": 0.8}, "round_to": 16, "schedule": schedule}
    made = prune(problem, tmp_path, recovery={"training": TRAINING}, **fields)
    assert notes_with(made, "nothing is cut: no more than its target remains.")
    assert len(notes_with(made, "the nearest below the target")) == 1
    given = {"task": problem[1].task, "inputs": {"pixel_values": torch.zeros(1, 1, 8, 8)}}
    after, before = (count_cost(x, **given).macs for x in (made.module, problem[0].module))
    assert after <= 0.8 * before
