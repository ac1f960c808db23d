import numpy as np
import onnx
import pytest

from compress.errors import StageError
from compress.measurement.macs.graph import count_macs
from compress.measurement.params import count_params
from compress.measurement.session import run, session
from compress.measurement.size import size_bytes
from compress.onnx_graph.files import external_files


@pytest.fixture
def split(cnn_onnx, tmp_path):
    """The CNN with its weights in another file, beside a file that isn't its own."""
    path = tmp_path / "split.onnx"
    onnx.save(
        onnx.load(cnn_onnx), path, save_as_external_data=True, location="split.data",
        size_threshold=64,
    )  # fmt: skip
    (tmp_path / "other.data").write_bytes(bytes(1000))
    return path


def test_one_file(cnn_onnx):
    assert external_files(cnn_onnx) == []
    assert size_bytes(cnn_onnx) == cnn_onnx.stat().st_size


def test_external_data_are_included_once(split):
    data = split.with_name("split.data")
    assert external_files(split) == [data]
    assert size_bytes(split) == split.stat().st_size + data.stat().st_size
    assert data.stat().st_size >= 4 * 1500


def test_missing_external_data_are_named(split):
    split.with_name("split.data").unlink()
    with pytest.raises(StageError, match=r"split\.data, which doesn't exist"):
        size_bytes(split)


def test_everything_else_works_with_external_data(split, cnn_onnx, images):
    assert count_params(split) == count_params(cnn_onnx)
    assert count_macs(split, images(1)) == count_macs(cnn_onnx, images(1))
    one, other = (run(session(path, threads=1), images(2)) for path in (split, cnn_onnx))
    np.testing.assert_array_equal(one["logits"], other["logits"])
