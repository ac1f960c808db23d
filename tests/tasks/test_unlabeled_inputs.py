"""Unlabelled samples of tasks on the contract: the teacher's answers replace the labels."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compress
from compress import Output, Task, TaskMetric
from compress.core.batch import SAMPLE, labels_in
from compress.data.fields.unlabeled import with_unlabeled_inputs
from compress.data.spec import DataSpec
from compress.errors import DataError, RecipeError, StageError
from compress.recipe.load import recipe_from_dict
from compress.stages.distill import Distill
from tests.tasks import arrays, texts
from tests.tasks.test_tensors import training

KINDS = {
    "text-regression": "scored",
    "question-answering": "question",
    "fill-mask": "plain",
    "multiple-choice": "choice",
}
LABELS = {"scored": "label", "question": "answers", "choice": "label", "plain": None}


def other(folder: Path, kind: str, count: int = 30) -> dict[str, Any]:
    """Another source of a kind of data, which has no labels."""
    rows = [
        {name: value for name, value in row.items() if name != LABELS[kind]}
        for row in texts.rows_of(kind, count, seed=5)
    ]
    path = folder / "other.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"huggingface": "json", "files": {"train": str(path)}}


def only_a_test_split() -> dict[str, Any]:
    return {"test": texts.rows_of("plain", 3)}


def loaded(folder: Path, name: str, **data: Any) -> Any:
    config: dict[str, Any] = dict(texts.CONFIG)
    if name == "text-regression":
        config |= {"num_labels": 1, "problem_type": "regression"}
    kind = KINDS[name]
    return compress.load(
        model={"config": config}, task=name, data={**texts.write_splits(folder, kind, 60), **data}
    )


@pytest.mark.parametrize("name", KINDS)
def test_a_student_learns_from_its_teacher_alone(name: str, tmp_path: Path) -> None:
    artifact, context = loaded(tmp_path, name, max_length=10)
    losses = {} if name == "fill-mask" else {"losses": {"labels": None}}
    given = {"unlabeled": other(tmp_path, KINDS[name]), **losses, **training(1)}
    stage = Distill.model_validate(given)
    learned = stage.apply(artifact, replace(context, directory=tmp_path))
    said = "; no label of train is read" if losses else ""
    assert f"train: 30 samples from the other source{said}." in learned.notes
    parts = json.loads((tmp_path / "training.json").read_text())["epochs"][0]
    assert set(parts["losses"]) == ({"response"} if losses else {"response", "labels"})
    # the epoch is chosen by labels all the same
    assert parts["validation"]["metric"] == context.task.metrics[0]


def test_own_samples_keep_their_places_and_only_train_changes(tmp_path: Path) -> None:
    artifact, context = loaded(tmp_path, "question-answering", max_length=9)
    data, preprocessor = context.data, artifact.require_preprocessor()
    spec = DataSpec.model_validate({**other(tmp_path, "question"), "limit": {"train": 20}})
    more = with_unlabeled_inputs(data, spec, seed=0, preprocessor=preprocessor)
    own = len(data.splits["train"])
    assert len(more.splits["train"]) == own + 20
    assert more.fingerprint != data.fingerprint
    whole = {
        split: [
            (batch[SAMPLE].tolist(), batch["input_ids"].tolist(), set(labels_in(batch)))
            for batch in each.loader(split, preprocessor, batch_size=1)
        ]
        for each, split in ((data, "train"), (data, "validation"))
    }
    after = {
        split: [
            (batch[SAMPLE].tolist(), batch["input_ids"].tolist(), set(labels_in(batch)))
            for batch in more.loader(split, preprocessor, batch_size=1)
        ]
        for split in ("train", "validation")
    }
    assert after["validation"] == whole["validation"]
    assert all(labels for *_, labels in whole["train"])
    assert [one[:2] for one in after["train"]][: len(whole["train"])] == [
        one[:2] for one in whole["train"]
    ]
    assert not any(labels for *_, labels in after["train"])
    assert max(sample for (sample,), *_ in after["train"]) == own + 19
    assert more.size("train") == len(after["train"])


def test_columns_of_the_other_source_have_names_of_their_own(tmp_path: Path) -> None:
    artifact, context = loaded(tmp_path, "fill-mask")
    path = tmp_path / "named.jsonl"
    path.write_text('{"said": "red boat"}\n{"said": "blue lake"}\n')
    given = {"huggingface": "json", "files": {"train": str(path)}}
    named = DataSpec.model_validate({**given, "columns": {"text": "said"}})
    preprocessor = artifact.require_preprocessor()
    more = with_unlabeled_inputs(context.data, named, seed=0, preprocessor=preprocessor)
    assert list(more.texts("train"))[-2:] == ["red boat", "blue lake"]
    mixed = np.array([len(more.splits["train"]) - 1, 0])
    assert more.samples("train", mixed)[0]["text"] == "blue lake"
    assert more.samples("train", mixed)[1] == context.data.samples("train", mixed[1:])[0]
    for spec, sentence in (
        (given, "column 'text'"),
        (
            {"python": "tests.tasks.test_unlabeled_inputs:only_a_test_split"},
            "a split 'train'. Found: test",
        ),
    ):
        wrong = DataSpec.model_validate(spec)
        with pytest.raises(DataError, match=sentence):
            with_unlabeled_inputs(context.data, wrong, seed=0, preprocessor=preprocessor)


def test_arrays_need_the_same_inputs(tmp_path: Path) -> None:
    made = arrays.table()
    np.savez(tmp_path / "data.npz", **made)
    np.savez(tmp_path / "other.npz", features=made["features"][:50], kind=np.zeros(50))
    np.savez(tmp_path / "wrong.npz", feature=made["features"][:50])
    artifact, context = compress.load(
        model={"python": "tests.tasks.nets:Table"},
        task="tensor-regression",
        data={"arrays": str(tmp_path / "data.npz")},
    )
    context = replace(context, directory=tmp_path)
    given = {"losses": {"labels": None}, **training(1)}
    stage = Distill.model_validate({**given, "unlabeled": {"arrays": str(tmp_path / "other.npz")}})
    learned = stage.apply(artifact, context)
    assert "train: 50 samples from the other source; no label of train is read." in learned.notes
    wrong = Distill.model_validate({**given, "unlabeled": {"arrays": str(tmp_path / "wrong.npz")}})
    with pytest.raises(DataError, match=r"the other source, split 'train': .*'features'"):
        wrong.apply(artifact, context)


@pytest.mark.parametrize("name", KINDS)
def test_a_loss_on_labels_is_refused_by_the_check(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    stage = {"use": "distill", "unlabeled": other(tmp_path, kind)}
    given = texts.recipe(tmp_path, kind, task=name, stages=[stage, {"use": "export"}])
    if name == "text-regression":
        given["model"] = {"config": {**texts.CONFIG, "num_labels": 1}}
    if name != "fill-mask":
        sentence = f"losses.labels' must be null with 'unlabeled': a batch of {name} has labels of"
        with pytest.raises(RecipeError, match=re.escape(sentence)):
            recipe_from_dict(given)
        stage["losses"] = {"labels": None}
    assert len(recipe_from_dict(given).stages) == 2


class Unseen(Task):
    """A task that a recipe check doesn't import."""

    name = "unseen"
    outputs = (Output("values", "values"),)

    def table_of_metrics(self) -> tuple[TaskMetric, ...]:
        return (TaskMetric("mean", of_all=lambda outputs, _: float(outputs["values"].mean())),)


def test_a_task_of_ones_own_is_refused_by_the_dry_run(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays.table())
    stages = [{"use": "distill", "unlabeled": {"arrays": str(tmp_path / "data.npz")}}]
    recipe = recipe_from_dict(
        {
            "version": 1,
            "name": "small",
            "task": {"python": f"{__name__}:Unseen"},
            "model": {"python": "tests.tasks.nets:Table"},
            "data": {"arrays": str(tmp_path / "data.npz")},
            "stages": [*stages, {"use": "export"}],
        }
    )
    artifact, context = compress.load(model=recipe.model, task=recipe.task, data=recipe.data)
    with pytest.raises(StageError, match=r"'losses\.labels' must be null .*a batch of unseen has"):
        recipe.stages[0].stage.dry_run(artifact, context)


def test_a_wrong_sample_of_the_other_source_is_named(tmp_path: Path) -> None:
    artifact, context = loaded(tmp_path, "fill-mask")
    path = tmp_path / "wrong.jsonl"
    path.write_text('{"text": "red boat"}\n{"text": " "}\n')
    spec = DataSpec.model_validate({"huggingface": "json", "files": {"train": str(path)}})
    preprocessor = artifact.require_preprocessor()
    with pytest.raises(DataError, match="row 1 of split 'train' of the other source: 'text' must"):
        with_unlabeled_inputs(context.data, spec, seed=0, preprocessor=preprocessor)
