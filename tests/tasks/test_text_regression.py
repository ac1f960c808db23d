"""Whole recipes for numbers of texts."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compress
from compress.errors import CompressError
from compress.exporting.verify.bundle import verify_bundle
from compress.models.checkpoint import load_checkpoint
from compress.recipe.load import recipe_from_dict
from compress.tasks.registry import find_task
from compress.testing import check_task
from tests.tasks import texts
from tests.tasks.test_tensors import EVALUATION, training

REGRESSION = {**texts.CONFIG, "num_labels": 1, "problem_type": "regression"}
SCRIPT = [sys.executable, "infer.py"]


def said(bundle: Path, *words: str) -> list[Any]:
    """What the bundle's script prints."""
    done = subprocess.run([*SCRIPT, *words], cwd=bundle, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def verified(bundle: Path) -> set[str]:
    """How the checks of a bundle's files, answers, script and shapes end."""
    found = {check.name: check.status for check in verify_bundle(bundle)}
    found.pop("CPU")
    assert "example" in found
    return set(found.values())


def test_scores_go_the_whole_way(tmp_path: Path) -> None:
    values = texts.recipe(
        tmp_path / "data",
        "scored",
        task="text-regression",
        model={"config": {**REGRESSION, "num_hidden_layers": 1}},
        stages=[
            {"use": "train", **training(6, 0.01)},
            {"use": "prune", "target": {"macs": 0.7}, "round_to": 1, "recovery": None},
            {"use": "export", "name": "float"},
            {"use": "quantize", "method": "dynamic", "evaluation": EVALUATION},
            {"use": "export"},
        ],
    )
    report = compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    _, trained, pruned, _, small, final = report.stages
    assert trained.quality.metric == "pearson"
    assert trained.quality.value > 0.8
    assert pruned.macs < 0.75 * trained.macs
    assert small.quality.value > pruned.quality.value - 0.1
    assert final.quality.value == small.quality.value
    given = ["red red blue", "white"]
    module, _ = load_checkpoint(tmp_path / "run/stages/02-prune")
    bundle = tmp_path / "run/stages/03-float/bundle"
    found = said(bundle, *given)
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(bundle)(given, return_tensors="pt", padding=True)
    wanted = module(**tokens).logits.detach().numpy()
    np.testing.assert_allclose([one["values"] for one in found], wanted, atol=1e-4)
    assert len(said(tmp_path / "run", "--npz", "samples.npz")) == 8
    assert json.loads((bundle / "config.json").read_text())["problem_type"] == "regression"
    assert "infer.py on 8 raw samples" in " ".join(final.notes)
    assert verified(tmp_path / "run") == {"ok"}


PAIRS = {"columns": {"text": "one", "text_pair": "two", "label": "score"}}


def test_several_numbers_of_pairs_keep_the_contract(tmp_path: Path) -> None:
    rows = texts.rows_of("pair", 6)
    samples = [{"text": x["one"], "text_pair": x["two"], "labels": x["score"]} for x in rows]
    check_task(
        find_task("text-regression"),
        texts.module("AutoModelForSequenceClassification", num_labels=2, problem_type="regression"),
        samples,
        directory=tmp_path,
        preprocessor=texts.preprocessor(),
    )


def load(data: dict[str, Any], config: dict[str, Any] = REGRESSION) -> Any:
    return compress.load(
        model={"config": config},
        task="text-regression",
        data=data,
    )


def test_pairs_and_several_numbers_are_read_from_their_columns(tmp_path: Path) -> None:
    data = {**texts.write_splits(tmp_path, "pair", 30), **PAIRS}
    artifact, context = load(data, {**REGRESSION, "num_labels": 2})
    (batch,) = context.data.loader("train", artifact.preprocessor, batch_size=4, limit=4)
    assert batch["labels"].shape == (4, 2)
    assert batch["attention_mask"].sum(1).min() >= 8  # both texts of three words
    assert context.data.raw("train", limit=1).values[0].keys() == {"text", "text_pair"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"text": "  "}, "row 3 of split 'train': 'text' must be a text that isn't empty"),
        ({"label": None}, "row 3 of split 'train': 'labels' must be a number"),
    ],
)
def test_a_sample_that_is_wrong_is_told_before_training(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    data = {**texts.broken(tmp_path, "scored", **change), "limit": {"train": 10}}
    with pytest.raises(CompressError, match=sentence):
        load(data)


def test_a_label_of_another_length_and_a_missing_column_are_told(tmp_path: Path) -> None:
    data = texts.write_splits(tmp_path, "scored", 24)
    with pytest.raises(CompressError, match="don't fit an output of shape"):
        load(data, {**REGRESSION, "num_labels": 2})
    with pytest.raises(CompressError, match=r"files\.train': split 'train': unknown column 'sent"):
        load({**data, "columns": {"text": "sentence"}})  # the recipe's check finds it


def test_texts_longer_than_the_positions_are_refused(tmp_path: Path) -> None:
    data = {**texts.write_splits(tmp_path, "scored", 24), "max_length": 60}
    with pytest.raises(CompressError, match="max_length' must be at most 48"):
        load(data)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"problem_type": "single_label_classification"}, "for such a head is text-classification"),
        ({"problem_type": "multi_label_classification"}, "is multi-label-text-classification"),
        ({"problem_type": None, "num_labels": 3}, "gives 3 scores and doesn't say that they are"),
    ],
)
def test_a_head_of_classes_is_refused(keys: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(CompressError, match=sentence):
        load(texts.write_splits(tmp_path, "scored", 24), {**REGRESSION, **keys})


def test_a_head_of_one_score_is_taken_as_a_number(tmp_path: Path) -> None:
    data = texts.write_splits(tmp_path, "scored", 24)
    artifact, context = load(data, {**texts.CONFIG, "num_labels": 1})
    assert context.task.default_metric() == "pearson"
    assert context.task.default_metric(labelled=False) == "r2_to_reference"
    assert artifact.labels == ()
