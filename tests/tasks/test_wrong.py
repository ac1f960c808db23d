"""What breaks a task's contract is told in one sentence, before a stage trains."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compress
from compress.errors import CompressError, RecipeError
from compress.recipe.load import recipe_from_dict
from compress.report.document import Report
from tests.tasks import arrays
from tests.tasks.test_tensors import run, training

TABLE = {"python": "tests.tasks.nets:Table"}
WRONG = "tests.tasks.wrong:"
TRAIN = [{"use": "train", **training(1)}]


def tried(folder: Path, task: str, **keys: Any) -> Report:
    given: dict[str, Any] = {"model": TABLE, "stages": TRAIN, "task": {"python": WRONG + task}}
    return run(folder, arrays.table(), **{**given, **keys})


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (
            "WrongShape",
            "'collate' of numbers (split 'train') must return tensors of 2 samples. "
            "Got (1, 6) for 'features'.",
        ),
        (
            "Vector",
            "the loss of numbers must be a scalar of floats. "
            "Got a tensor of shape (2,) and type torch.float32.",
        ),
        ("Failing", "the loss of numbers failed: ValueError: no such thing"),
        ("NotANumber", "metric 'strange' must be a finite number. Got nan."),
        (
            "NoRole",
            "tests.tasks.wrong:NoRole: the role of output 'values' must be one of classes, values, "
            "features. Got 'verdicts'.",
        ),
        ("TwoOutputs", "must return 2 tensors, values, more, in this order or by name. Got Tensor"),
        ("OtherInput", "unknown column 'age'"),
        ("NoTask", "must be a subclass of compress.Task. Got"),
        ("Missing", "module 'tests.tasks.wrong' has no 'Missing'"),
    ],
)
def test_a_broken_contract_is_told_before_training(
    task: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(CompressError) as raised:
        tried(tmp_path, task)
    assert sentence in str(raised.value)
    assert not (tmp_path / "run/stages/01-train").exists()


def test_labels_of_another_type_are_told(tmp_path: Path) -> None:
    made = arrays.table()
    made["label"] = np.array(["cheap"] * len(made["label"]))
    with pytest.raises(CompressError, match="field 'labels' must be a number"):
        run(tmp_path, made, model=TABLE, stages=TRAIN, task="tensor-regression")


def test_a_column_that_the_data_lacks_is_told_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(CompressError, match=r"unknown column 'price'\. Known: features, label"):
        tried(tmp_path, "Numbers", data={"columns": {"label": "price"}})


def test_a_recipe_check_finds_a_missing_module_and_unknown_arguments() -> None:
    values = {
        "version": 1,
        "name": "x",
        "model": TABLE,
        "data": {"python": "tests.tasks.arrays:table"},
        "stages": TRAIN,
    }
    for task, sentence in (
        ({"python": "no_such_module:Task"}, "there is no module 'no_such_module'"),
        ({"name": "tensor-regression", "arguments": {"sizes": 3}}, "can't be called"),
        ({"name": "tensor-regresion"}, "unknown task 'tensor-regresion'"),
        ({"name": "text-classification", "arguments": {"a": 1}}, "takes no arguments. Got a."),
        ({}, "exactly one of name, python must be given. Got none."),
    ):
        with pytest.raises(RecipeError) as raised:
            recipe_from_dict({**values, "task": task})
        assert sentence in str(raised.value)


def test_a_loss_and_a_metric_of_ones_own(tmp_path: Path) -> None:
    custom = {"python": WRONG + "squared", "weight": 2.0, "arguments": {"power": 1.5}}
    report = tried(
        tmp_path,
        "Numbers",
        measure={
            "metric": {"python": WRONG + "worst", "higher_is_better": False},
            "batch_sizes": [1],
            "rounds": 5,
            "seconds": 0.01,
        },
        stages=[
            {"use": "train", **training(4)},
            {
                "use": "distill",
                "student": {"python": "tests.tasks.nets:Table", "arguments": {"width": 8}},
                "losses": {"response": None, "labels": None, "custom": custom},
                **training(6, 0.01),
            },
        ],
        gates={"accuracy_drop": 5.0},
    )
    original, teacher, student = report.stages
    assert {row.quality.metric for row in report.stages} == {"worst"}
    assert not teacher.quality.higher_is_better
    assert teacher.quality.value < original.quality.value
    assert student.quality.value < original.quality.value
    assert report.gates[0].value == pytest.approx(student.quality.value - teacher.quality.value)


def test_a_loss_of_ones_own_that_is_no_scalar_is_told(tmp_path: Path) -> None:
    custom = {"python": WRONG + "not_scalar"}
    stage = {"use": "distill", "losses": {"custom": custom}, **training(1)}
    with pytest.raises(CompressError, match=r"must be a scalar of floats\. Got a tensor of shape"):
        tried(tmp_path, "Numbers", stages=[stage])


def test_a_task_of_ones_own_serves_a_notebook_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays.table())
    artifact, context = compress.load(
        model=TABLE,
        task={"python": WRONG + "Numbers"},
        data={"arrays": str(tmp_path / "data.npz")},
    )
    assert context.task.name == "numbers"
    smaller = compress.Prune(target={"macs": 0.5}, round_to=1, recovery=None).apply(
        artifact, context
    )
    assert smaller.module is not artifact.module


def test_keys_of_tensors_are_refused_for_other_tasks(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **arrays.table())
    values = {
        "version": 1,
        "name": "x",
        "model": {"python": "compress.models.resnet:resnet"},
        "task": "image-classification",
        "stages": TRAIN,
    }
    for data, sentence in (
        ({"arrays": str(tmp_path / "data.npz")}, "it holds tensors, and image-classification"),
        (
            {"sklearn": "digits", "columns": {"inputs": {"x": "image"}}},
            "'data.columns.inputs' is for tasks on tensors and of one's own.",
        ),
        ({"arrays": str(tmp_path / "none.npz")}, "there is no file or folder"),
    ):
        with pytest.raises(RecipeError) as raised:
            recipe_from_dict({**values, "data": data})
        assert sentence in str(raised.value)
