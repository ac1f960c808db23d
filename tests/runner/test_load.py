"""A model and data without a recipe: one stage at a time."""

import doctest
import tempfile
from pathlib import Path

import pytest

import compress
from compress.data.spec import DataSpec
from compress.errors import DataError, InputError, RecipeError
from compress.models.spec import ModelSpec
from compress.runner import load as module

RESNET = {
    "python": "compress.models.resnet:resnet",
    "arguments": {"blocks": [1], "width": 8, "in_channels": 1, "num_classes": 10},
}
DIGITS = {"sklearn": "digits", "limit": {"train": 200, "validation": 50, "test": 50}}
TASK = "image-classification"


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    [found] = doctest.DocTestFinder(recurse=False).find(module.load, "load")
    ran = doctest.DocTestRunner().run(found)
    assert ran.attempted >= 9
    assert ran.failed == 0


def test_the_artifact_is_the_reference_and_stages_apply_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "train"
    artifact, context = compress.load(
        ModelSpec(**RESNET), TASK, DataSpec(**DIGITS), directory=folder, seed=7, threads=1
    )
    assert (context.directory, context.seed, context.threads) == (folder, 7, 1)
    assert context.reference.module is artifact.module
    assert context.data.size("train") == 200
    training = {"epochs": 1, "batch_size": 50}
    trained = compress.Train.model_validate({"training": training}).apply(artifact, context)
    assert (folder / "training.json").is_file()
    with pytest.raises(InputError, match="must be an empty folder"):
        compress.load(RESNET, TASK, DIGITS, directory=folder)
    smaller = compress.Prune.model_validate({"target": {"params": 0.5}, "recovery": None}).apply(
        trained, context
    )
    counts = [sum(p.numel() for p in one.module.parameters()) for one in (smaller, trained)]
    assert counts[0] / counts[1] == pytest.approx(0.5, rel=0.03)


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    first, second, other = (
        compress.load(RESNET, TASK, DIGITS, directory=tmp_path / name, seed=seed)[0]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    weights = [next(one.require_module().parameters()) for one in (first, second, other)]
    assert weights[0].equal(weights[1])
    assert not weights[0].equal(weights[2])


def test_what_is_wrong_is_told_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        compress.load({"python": "no"}, "classify", {"sklearn": 1}, directory=tmp_path / "a")
    assert [line.split("'")[1] for line in caught.value.problems] == [
        "data.sklearn", "classify", "model.python",
    ]  # fmt: skip
    broken = {"python": "compress.models.resnet:resnet"}
    with pytest.raises((DataError, InputError)):
        compress.load(RESNET, TASK, broken, directory=tmp_path / "a")
    assert not (tmp_path / "a").exists()
