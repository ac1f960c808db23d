import numpy as np
import pytest

from compress.data.sources.idx import find_files, read_split
from compress.errors import DataError


@pytest.mark.parametrize("zipped", [False, True])
def test_what_was_written_is_read(tmp_path, write_idx, zipped):
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(tmp_path, "train", images, [1, 0], zipped=zipped)
    write_idx(tmp_path, "t10k", images, [1, 0], zipped=zipped)
    found = find_files(tmp_path)
    assert set(found.splits) == {"train", "test"}
    assert found.missing == ()
    pixels, labels = read_split(*found.splits["train"])
    assert np.array_equal(pixels, images)
    assert labels.tolist() == [1, 0]


def test_half_a_split_is_missing_a_file(tmp_path, write_idx):
    write_idx(tmp_path, "train", [[[1]]], [0])
    write_idx(tmp_path, "t10k", [[[1]]], [0])
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert "t10k-labels-idx1-ubyte" in find_files(tmp_path).missing[0]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content[:-1], "it holds 1"),
        (lambda content: b"\0\0\x0d" + content[3:], "isn't an IDX file of unsigned bytes"),
        (lambda content: b"", "isn't an IDX file"),
    ],
)
def test_a_broken_file_is_named(tmp_path, write_idx, change, problem):
    write_idx(tmp_path, "train", [[[1]], [[2]]], [0, 1])
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match=problem) as caught:
        read_split(*find_files(tmp_path).splits["train"])
    assert path.name in str(caught.value)


def test_broken_gzip_and_unequal_counts(tmp_path, write_idx):
    write_idx(tmp_path, "train", [[[1]]], [0, 1], zipped=True)
    files = find_files(tmp_path).splits["train"]
    with pytest.raises(DataError, match=r"has 1 images, .* 2 labels"):
        read_split(*files)
    files[1].write_bytes(files[1].read_bytes()[:-6])
    with pytest.raises(DataError, match="can't be read"):
        read_split(*files)
