"""Runs of other tasks than single-label classification; the recipes' own tests show the rest."""

import re
from pathlib import Path
from typing import Any

import pytest

import compress
from compress.errors import InputError, ModelError, RecipeError
from compress.measurement.results import Quality
from compress.recipe.load import recipe_from_dict
from compress.recipe.schema import Gates
from compress.report.document import Report, Row
from compress.runner.gates.judge import judge
from compress.runner.inputs import load_inputs


def bert(labels: int, **changes: Any) -> dict[str, Any]:
    keys = {
        "model_type": "bert",
        "vocab_size": 320,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 24,
        "num_labels": labels,
    }
    return {"config": keys | changes}


def recipe(source: str, *, task: str, model: dict[str, Any], **keys: Any) -> dict[str, Any]:
    data = {
        "python": f"tests.runner.sources:{source}",
        "tokenizer": {"train": {"vocab_size": 320}},
        "max_length": 24,
        **keys.pop("data", {}),
    }
    measure = {"batch_sizes": [1], "rounds": 5, "warmup": 1, "seconds": 0.01}
    return {
        "version": 1,
        "name": "small",
        "model": model,
        "task": task,
        "data": data,
        "measure": measure | keys.pop("measure", {}),
        "stages": [QUANTIZE, {"use": "export"}],
        **keys,
    }


TRIALS = {"samples": 64, "rounds": 5, "seconds": 0.01, "batch_sizes": [1, 2]}
QUANTIZE = {"use": "quantize", "method": "dynamic", "evaluation": TRIALS}


def training(epochs: int) -> dict[str, Any]:
    return {"training": {"epochs": epochs, "batch_size": 16, "learning_rate": 2e-3}}


def run(values: dict[str, Any], folder: Path) -> Report:
    return compress.run(recipe_from_dict(values), output=folder, threads=1)


@pytest.mark.slow
def test_sets_of_classes_run_whole(tmp_path):
    values = recipe(
        "sets_of_colours",
        task="multi-label-text-classification",
        model=bert(3, initializer_range=0.1),
        stages=[
            {"use": "train", **training(12)},
            {"use": "distill", "student": {"layers": 1}, **training(6)},
            QUANTIZE,
            {"use": "export"},
        ],
        gates={"accuracy_drop": 0.3},
    )
    report = run(values, tmp_path / "run")
    untrained, teacher, student, _, final = report.stages
    assert {row.quality.metric for row in report.stages} == {"f1_micro"}
    assert teacher.quality.value > max(0.9, untrained.quality.value)
    assert student.quality.value > 0.7
    assert final.quality.samples == 48
    assert [gate.name for gate in report.gates] == ["accuracy_drop"]


@pytest.mark.slow
def test_the_binary_head_is_trained_quantized_and_exported(tmp_path):
    values = recipe(
        "is_red",
        task="multi-label-text-classification",
        model=bert(1, initializer_range=0.1),
        stages=[{"use": "train", **training(12)}, QUANTIZE, {"use": "export"}],
    )
    untrained, trained, _, final = run(values, tmp_path / "run").stages
    assert {row.quality.metric for row in (untrained, trained, final)} == {"f1_micro"}
    assert trained.quality.value > max(0.9, untrained.quality.value)
    assert final.quality.value > 0.8
    assert final.quality.samples == 48


@pytest.mark.slow
def test_data_without_labels_is_measured_by_agreement(tmp_path):
    values = recipe(
        "sets_of_colours",
        task="multi-label-text-classification",
        model=bert(3, id2label={"0": "red", "1": "green", "2": "blue"}),
        data={"columns": {"label": None}, "arguments": {"with_labels": False}},
    )
    del values["model"]["config"]["num_labels"]
    report = run(values, tmp_path / "run")
    original, *_, final = report.stages
    assert original.quality.metric == "agreement"
    assert original.quality.value == 1
    assert 0.5 < final.quality.value <= 1


def test_metrics_that_the_labels_do_not_fit_are_refused_before_any_work():
    values = recipe(
        "tagged", task="token-classification", model=bert(2), measure={"metric": "f1_entities"}
    )
    with pytest.raises(InputError, match="IOB2"):
        load_inputs(recipe_from_dict(values))


def test_a_tokenizer_of_more_tokens_than_the_model_knows():
    values = recipe(
        "sets_of_colours",
        task="multi-label-text-classification",
        model=bert(3, vocab_size=300),
    )
    with pytest.raises(
        ModelError, match=r"tokenizer has 3\d\d tokens, but the model knows only 300"
    ):
        load_inputs(recipe_from_dict(values))


def test_a_model_that_has_too_few_positions():
    values = recipe(
        "sets_of_colours",
        task="multi-label-text-classification",
        model=bert(3, max_position_embeddings=4),
    )
    with pytest.raises(RecipeError) as caught:
        recipe_from_dict(values)
    [problem] = caught.value.problems
    assert re.search("max_length' must be at most 4, the longest text", problem)


def test_labels_of_another_number_than_the_heads():
    values = recipe("sets_of_colours", task="multi-label-text-classification", model=bert(2))
    with pytest.raises(ModelError, match=r"shape \(2, 2\) for 2 samples, but there are 3 labels"):
        load_inputs(recipe_from_dict(values))


def row(value: float, *, metric: str = "perplexity") -> Row:
    quality = Quality(
        metric=metric, value=value, ci95=(value, value), samples=9, higher_is_better=False
    )
    return Row(index=0, name="a", params=1, macs=1, size_bytes=1, quality=quality)


@pytest.mark.parametrize(("final", "passed"), [(10.0, True), (11.0, True), (11.2, False)])
def test_the_gate_of_perplexity(final, passed):
    [found] = judge(Gates(perplexity_ratio=1.1), reference=row(10.0), final=row(final), rows=[])
    assert (found.name, found.limit, found.passed) == ("perplexity_ratio", 1.1, passed)
    assert found.value == pytest.approx(final / 10)


def test_gates_know_which_metric_they_judge():
    assert Gates(accuracy_drop=0.1).misfits("accuracy") == []
    assert Gates(perplexity_ratio=1.1).misfits("perplexity") == []
    [(key, problem)] = Gates(accuracy_drop=0.1).misfits("perplexity")
    assert key == "accuracy_drop"
    assert problem.endswith("'perplexity_ratio' can.")
    [(key, _)] = Gates(perplexity_ratio=1.1, accuracy_drop=0.1).misfits("f1_macro")
    assert key == "perplexity_ratio"
