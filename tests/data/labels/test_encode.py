import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.data.labels.encode import encode_labels
from compress.data.rows import ArrayRows
from compress.errors import DataError


def rows(split, targets, names=None):
    as_array = np.asarray(targets)
    targets = as_array if as_array.dtype.kind in "iu" else targets
    return ArrayRows(split, np.zeros((len(targets), 1, 1), np.uint8), targets, names)


@given(st.lists(st.sampled_from(["cat", "dog", "emu"]), min_size=1))
def test_names_map_through_the_models_labels(names):
    labels = ("emu", "cat", "dog")
    encoded = encode_labels([rows("train", names)], labels)
    assert [labels[index] for index in encoded.targets["train"]] == names
    assert encoded.targets["train"].dtype == np.int64


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        (["a", "c"], r"row 1 of split 'test': .* model's 2 labels: a, b. Got 'c'"),
        ([0, 2], r"row 1 of split 'test': the label must be a number from 0 to 1.*a, b. Got 2"),
        ([0, -1], r"row 1 of split 'test'.* Got -1"),
        (["a", None], r"row 1 of split 'test': a label must be a name or an integer. Got nothing"),
        ([0.0, 0.5], r"row 1 .* Got 0.5"),
        ([1.0, float("nan")], r"row 1 .* Got nothing"),
    ],
)
def test_what_the_model_does_not_know_is_named(targets, problem):
    with pytest.raises(DataError, match=problem):
        encode_labels([rows("train", ["a", "b"]), rows("test", targets)], ("a", "b"))


def test_names_of_the_data_map_by_name():
    encoded = encode_labels([rows("train", [0, 1, 1], ("dog", "cat"))], ("cat", "dog", "emu"))
    assert encoded.targets["train"].tolist() == [1, 0, 0]
    assert encoded.notes == ()
    with pytest.raises(DataError, match=r"row 1 .* Got 'cow'"):
        encode_labels([rows("train", [0, 1], ("dog", "cow"))], ("cat", "dog"))


def test_generic_labels_are_taken_by_number_and_said():
    labels = ("LABEL_0", "LABEL_1")
    encoded = encode_labels([rows("train", [1, 0], ("dog", "cat"))], labels)
    assert encoded.targets["train"].tolist() == [1, 0]
    assert "by number" in encoded.notes[0]
    with pytest.raises(DataError, match="from 0 to 1"):
        encode_labels([rows("train", [2], ("dog", "cat", "emu"))], labels)


def test_a_model_without_labels_gets_those_found():
    named = encode_labels([rows("train", ["b", "a"]), rows("test", ["c"])], ())
    assert named.labels == ("a", "b", "c")
    assert named.targets["test"].tolist() == [2]
    assert encode_labels([rows("train", [3, 0])], ()).labels == ("0", "1", "2", "3")
    assert encode_labels([rows("train", [0], ("x", "y"))], ()).labels == ("x", "y")
    with pytest.raises(DataError, match="all names or all integers"):
        encode_labels([rows("train", ["a"]), rows("test", [1])], ())
