"""Distillation on pairs of queries and documents: what is learned, and what is refused."""

from dataclasses import replace

import pytest
import torch

import compress
from compress.errors import RecipeError
from compress.recipe.load import recipe_from_dict
from compress.stages.distill import Distill
from tests.tasks import texts

NONE = {"response": None, "labels": None}
TRAINING = {"epochs": 6, "batch_size": 32, "learning_rate": 1e-2}


def data(folder):
    given = texts.write_splits(folder, "sought", 120)
    return {**given, "columns": {"text": "query", "text_pair": "document"}}


def recipe(folder, **stage):
    given = {"use": "distill", "training": TRAINING, **stage}
    values = texts.recipe(folder, "sought", task="feature-extraction", stages=[given])
    values["data"] = data(folder)
    values["measure"] = {**values["measure"], "metric": "mrr", "baseline": None}
    values["stages"].append({"use": "export"})
    return recipe_from_dict(values)


def distilled(tmp_path, name, **losses):
    folder = tmp_path / name
    folder.mkdir()
    artifact, context = compress.load(
        model={"config": texts.CONFIG}, task="feature-extraction", data=data(tmp_path / "data")
    )
    context = replace(context, directory=folder, shared=folder / "shared")
    stage = Distill.model_validate({"training": TRAINING, "losses": {**NONE, **losses}})
    return stage.apply(artifact, context).module


@pytest.mark.parametrize(
    "losses",
    [
        {"in_batch_negatives": {"temperature": 0.1}},
        {"in_batch_negatives": {}, "margin_mse": {}, "embedding": {}},
    ],
)
def test_a_student_finds_more_and_a_seed_decides_all(losses, tmp_path):
    torch.set_num_threads(1)
    report = compress.run(
        recipe(tmp_path / "data", losses={**NONE, **losses}, teacher={}),
        output=tmp_path / "run",
        threads=1,
    )
    original, student, _ = report.stages
    if "embedding" not in losses:
        assert student.quality.value > original.quality.value + 0.1
    one, two = (distilled(tmp_path, name, **losses).state_dict() for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_cache_answers_for_margins(tmp_path):
    losses = {**NONE, "margin_mse": {"weight": 10.0}}
    report = compress.run(
        recipe(
            tmp_path / "data",
            losses=losses,
            teacher={"cache": {}},
            student={"width": {"intermediate_size": 24}},
        ),
        output=tmp_path / "run",
        threads=1,
    )
    assert any("cache" in note for note in report.stages[1].notes)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (
            {"losses": {**NONE, "in_batch_negatives": {}}, "teacher": {"cache": {}}},
            "nothing is learned from the teacher",
        ),
        (
            {"losses": {**NONE, "margin_mse": {}}, "teacher": {"cache": {"top_k": 2}}},
            "must be null with 'losses.margin_mse'",
        ),
        ({"losses": {**NONE, "in_batch_negatives": {"temperature": 0}}}, "temperature"),
    ],
)
def test_what_does_not_go_together_is_refused(stage, words, tmp_path):
    with pytest.raises(RecipeError, match=words):
        recipe(tmp_path, **stage)


@pytest.mark.parametrize("name", ["in_batch_negatives", "margin_mse"])
def test_pairs_are_needed(name, tmp_path):
    losses = {**NONE, name: {}}
    for use in (
        {"use": "distill", "losses": losses},
        {"use": "prune", "target": {"macs": 0.8}, "recovery": {"losses": losses}},
    ):
        values = texts.recipe(tmp_path, "plain", task="feature-extraction", stages=[use])
        with pytest.raises(RecipeError, match="the data has no pairs"):
            recipe_from_dict(values)
    values = texts.recipe(
        tmp_path, "scored", task="text-regression", stages=[{"use": "distill", "losses": losses}]
    )
    with pytest.raises(RecipeError, match="aren't embeddings"):
        recipe_from_dict(values)
