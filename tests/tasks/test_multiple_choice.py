"""Whole recipes for the best of several choices, and what a label may be."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import compress
from compress.errors import CompressError, DataError
from compress.models.checkpoint import load_checkpoint
from compress.recipe.load import recipe_from_dict
from compress.tasks.registry import find_task
from compress.tasks.texts.choices import right_choice
from compress.testing import check_task
from tests.tasks import texts
from tests.tasks.test_tensors import EVALUATION, training
from tests.tasks.test_text_regression import said, verified

FEATURES = {"feature": {"layers": "last", "weight": 1.0}}


def test_choices_go_the_whole_way(tmp_path: Path) -> None:
    values = texts.recipe(
        tmp_path / "data",
        "choice",
        task="multiple-choice",
        data={"max_length": 16},
        stages=[
            {"use": "train", **training(6, 0.01)},
            {"use": "prune", "target": {"macs": 0.7}, "round_to": 1, "recovery": training(1)},
            {"use": "export", "name": "float"},
            {"use": "quantize", "method": "dynamic", "evaluation": EVALUATION},
            {"use": "export"},
        ],
    )
    report = compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    _, trained, pruned, _, small, final = report.stages
    assert trained.quality.metric == "accuracy"
    assert trained.quality.value > 0.8
    assert pruned.macs < 0.75 * trained.macs
    assert small.quality.value > pruned.quality.value - 0.1
    assert "infer.py on 8 raw samples" in " ".join(final.notes)
    assert verified(tmp_path / "run") == {"ok"}
    rows = texts.rows_of("choice", 4, seed=5)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    bundle = tmp_path / "run/stages/03-float/bundle"
    found = said(bundle, "--jsonl", str(path))
    wanted = of_torch(tmp_path / "run/stages/02-prune", bundle, rows)
    for one, row, shares in zip(found, rows, wanted, strict=True):
        assert one["text"] == row["choices"][one["choice"]]
        assert one["choice"] == int(np.argmax(shares))
        np.testing.assert_allclose(one["probabilities"], shares, atol=1e-4)
    assert said(bundle, rows[0]["question"], *rows[0]["choices"])[0]["text"] == found[0]["text"]


def of_torch(stage: Path, bundle: Path, rows: list[Any]) -> list[list[float]]:
    """The probabilities of each row's choices; each choice is a sample of its own."""
    from transformers import AutoTokenizer

    module, _ = load_checkpoint(stage)
    tokenizer = AutoTokenizer.from_pretrained(bundle)
    shares = []
    for row in rows:
        scores = []
        for choice in row["choices"]:
            given = tokenizer(row["question"], choice, return_tensors="pt")
            with torch.no_grad():
                scores.append(module(**{name: x[None] for name, x in given.items()}).logits[0, 0])
        shares.append(functional.softmax(torch.stack(scores), 0).tolist())
    return shares


def test_it_keeps_the_contract(tmp_path: Path) -> None:
    samples = [{**row, "labels": row["label"]} for row in texts.rows_of("choice", 6)]
    assert len({len(sample["choices"]) for sample in samples}) > 1
    check_task(
        find_task("multiple-choice"),
        texts.module("AutoModelForMultipleChoice"),
        samples,
        directory=tmp_path,
        preprocessor=texts.preprocessor(),
    )


def test_choices_that_a_sample_lacks_count_nowhere() -> None:
    task = find_task("multiple-choice")
    scores = torch.tensor([[1.0, 2.0, 9.0], [3.0, 1.0, 2.0]])
    batch = {
        "labels": torch.tensor([1, 0]),
        "about.choices": torch.tensor([2, 3]),
    }
    wanted = (
        functional.cross_entropy(scores[:1, :2], torch.tensor([1]))
        + functional.cross_entropy(scores[1:], torch.tensor([0]))
    ) / 2
    assert float(task.loss({"logits": scores}, batch)) == pytest.approx(float(wanted))
    other = scores.clone()
    other[0, 2] = -5.0
    same = task.compare({"logits": other}, {"logits": scores}, batch, temperature=2.0)
    assert float(same) == pytest.approx(0, abs=1e-6)
    (accuracy, _) = task.table_of_metrics()
    assert accuracy.rows is not None
    labels = {name: value.numpy() for name, value in batch.items()}
    assert accuracy.rows({"logits": scores.numpy()}, labels).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("label", "number"), [(1, 1), ("1", 1), ("boat", 1), (np.int64(1).item(), 1), ("3", 2)]
)
def test_a_label_is_a_number_or_one_of_the_choices(label: Any, number: int) -> None:
    assert right_choice(label, ["tree", "boat", "3"]) == number


@pytest.mark.parametrize("label", [3, -1, True, None, "bird", 1.0])
def test_other_labels_are_refused(label: Any) -> None:
    with pytest.raises(DataError, match="a number from 0 to 2, or the text of one of the choices"):
        right_choice(label, ["tree", "boat", "stone"])


def test_columns_may_hold_a_choice_each_and_features_are_learned(tmp_path: Path) -> None:
    data = texts.write_splits(tmp_path, "choice", 24)
    for path in data["files"].values():
        rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
        flat = [{"ask": x["question"], "a": "red", "b": "tree", "right": "0"} for x in rows]
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in flat))
    columns = {"inputs": {"question": "ask", "choices": ["a", "b"]}, "label": "right"}
    artifact, context = compress.load(
        model={"config": texts.CONFIG},
        task="multiple-choice",
        data={**data, "columns": columns},
        directory=tmp_path / "stage",
    )
    (batch,) = context.data.loader("train", artifact.preprocessor, batch_size=3, limit=3)
    assert batch["input_ids"].shape[:2] == (3, 2)
    assert batch["labels"].tolist() == [0, 0, 0]
    student = compress.Distill(losses=FEATURES, **training(1)).apply(artifact, context)
    assert student.module is not artifact.module


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"choices": ["red"]}, "row 3 of split 'train': 'choices' must be a list of two texts"),
        ({"choices": ["red", ""], "label": 0}, "'choices' must be a text that isn't empty"),
        ({"label": 9}, "row 3 of split 'train': the label must be a number from 0 to"),
    ],
)
def test_a_sample_that_is_wrong_is_told_before_training(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    data = {**texts.broken(tmp_path, "choice", **change), "limit": {"train": 10}}
    with pytest.raises(CompressError, match=sentence):
        compress.load(model={"config": texts.CONFIG}, task="multiple-choice", data=data)
