"""The samples that a bundle keeps."""

import numpy as np
import pytest
import torch

from compress.errors import DataError, InputError, StageError
from compress.exporting.bundle import samples
from compress.exporting.bundle.samples import read_samples, shorter, write_samples
from compress.exporting.parity.compare import module_answers
from compress.measurement.bench.apart import bench_apart
from compress.measurement.session import run, session
from compress.tasks.task import TASKS
from tests.exporting.bundle.maker import digits
from tests.exporting.samples import texts

IMAGES = TASKS["image-classification"]


def test_eight_samples_and_their_answers_come_back(cnn, cnn_file, tmp_path):
    batch = {**digits(), "labels": torch.zeros(12, dtype=torch.int64)}
    path = write_samples(
        cnn_file, [batch, batch], tmp_path, reference=module_answers(cnn, task=IMAGES)
    )
    found = read_samples(path)
    assert path == tmp_path / "samples.npz"
    assert list(found.inputs) == ["pixel_values"]
    assert found.count == 8
    np.testing.assert_array_equal(found.inputs["pixel_values"], batch["pixel_values"][:8])
    wanted = run(session(cnn_file, threads=1), found.inputs)
    np.testing.assert_array_equal(found.answers["logits"], wanted["logits"])
    np.testing.assert_allclose(found.reference["logits"], wanted["logits"], atol=1e-5)
    assert path.stat().st_size < 10_000


def test_the_same_samples_are_the_same_file(cnn_file, tmp_path):
    files = [tmp_path / name for name in "ab"]
    for file in files:
        file.mkdir()
        write_samples(cnn_file, [digits()], file)
    assert len({(file / "samples.npz").read_bytes() for file in files}) == 1


def test_what_is_large_is_cut(cnn_file, exported_bert, tmp_path, monkeypatch):
    _, bert = exported_bert
    monkeypatch.setattr(samples, "LARGEST", 4 * 8 * 8 * 4)
    assert read_samples(write_samples(cnn_file, [digits()], tmp_path)).count == 2
    monkeypatch.setattr(samples, "LARGEST", 200)
    found = read_samples(write_samples(bert, [texts(8, 8)], tmp_path))
    assert found.inputs["input_ids"].shape == (2, 2)


def test_half_a_text_is_the_half_that_is_no_padding():
    mask = np.array([[0, 0, 1, 1], [1, 1, 1, 1]])
    assert shorter({"attention_mask": mask})["attention_mask"].tolist() == [[1, 1], [1, 1]]
    flipped = mask[:, ::-1]
    assert shorter({"attention_mask": flipped})["attention_mask"].tolist() == [[1, 1], [1, 1]]
    assert shorter({"attention_mask": mask[:, :1]}) is None
    assert shorter({"pixel_values": mask}) is None


def test_no_samples_is_an_error(cnn_file, tmp_path):
    with pytest.raises(StageError, match="no samples"):
        write_samples(cnn_file, [], tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"text"])
def test_what_is_no_file_of_samples(tmp_path, content):
    path = tmp_path / "samples.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"can't read the samples"):
        read_samples(path)


def test_a_file_of_samples_whose_compression_is_damaged(tmp_path):
    path = tmp_path / "samples.npz"
    np.savez_compressed(path, x=np.arange(4096))
    content = bytearray(path.read_bytes())
    content[60:200] = b"\xff" * 140
    path.write_bytes(content)
    with pytest.raises(InputError, match="can't read the samples"):
        read_samples(path)
    with pytest.raises(DataError, match="can't read the inputs"):
        bench_apart([tmp_path / "model.onnx"], inputs=path)


def test_pickles_are_refused_and_answers_needed(tmp_path):
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="can't read the samples"):
        read_samples(path)
    np.savez(path, x=np.zeros(2))
    with pytest.raises(InputError, match=r"holds no inputs with answers\. It has: x\."):
        read_samples(path)
