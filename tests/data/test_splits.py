import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.data.rows import ArrayRows
from compress.data.spec import DataSpec
from compress.data.splits import complete
from compress.errors import DataError


def made(sizes, seed=0, **keys):
    found = {
        split: ArrayRows(split, np.zeros((size, 1, 1), np.uint8), np.arange(size) % 3)
        for split, size in sizes.items()
    }
    targets = {split: rows.targets for split, rows in found.items()}
    return complete(found, targets, DataSpec(sklearn="digits", **keys), seed)


@given(st.integers(3, 200), st.integers(0, 5))
def test_carving_parts_train_without_loss(size, seed):
    splits, _ = made({"train": size}, seed)
    parts = [set(splits[name].indices.tolist()) for name in ("train", "validation", "test")]
    assert all(parts)
    assert sum(map(len, parts)) == size
    assert set.union(*parts) == set(range(size))
    assert set(splits["calibration"].indices.tolist()) <= parts[0]
    again, _ = made({"train": size}, seed)
    assert all(np.array_equal(splits[name].indices, again[name].indices) for name in splits)


def test_targets_follow_their_rows():
    splits, _ = made({"train": 50})
    for samples in splits.values():
        assert np.array_equal(samples.targets, samples.indices % 3)


def test_what_was_done_is_said():
    splits, notes = made({"train": 100, "test": 9}, validation_fraction=0.2, calibration_samples=7)
    assert len(splits["validation"]) == 20
    assert len(splits["train"]) == 80
    assert len(splits["test"]) == 9
    assert len(splits["calibration"]) == 7
    assert [note.partition(":")[0] for note in notes] == ["validation", "calibration"]
    other, _ = made({"train": 100, "test": 9}, seed=1, validation_fraction=0.2)
    assert not np.array_equal(splits["validation"].indices, other["validation"].indices)


def test_given_splits_stay_whole_and_unsaid():
    sizes = {"train": 5, "validation": 4, "test": 3, "calibration": 2}
    splits, notes = made(sizes)
    assert {name: len(samples) for name, samples in splits.items()} == sizes
    assert notes == ()


def test_limits_are_noted_with_the_classes_they_lose():
    sizes = {"train": 50, "validation": 9, "test": 9}
    splits, notes = made(sizes, limit={"train": 2, "test": 9, "calibration": 1})
    assert splits["train"].indices.tolist() == [0, 1]
    assert len(splits["calibration"]) == 1
    assert notes[0] == (
        "train: only the first 2 of 50 samples. 1 of its classes are not among them."
    )
    assert not any(note.startswith("test") for note in notes)


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ({"test": 3}, "no split 'train'. Found: test"),
        ({"train": 0}, "split 'train' is empty"),
        ({"train": 2}, "too few to carve"),
    ],
)
def test_impossible_splits(sizes, problem):
    with pytest.raises(DataError, match=problem):
        made(sizes)
