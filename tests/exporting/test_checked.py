"""A module that a run has exported already isn't exported again, and its file is compared anew."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.data.images.transform import ImagePreprocessor
from compress.errors import ParityError
from compress.exporting import checked
from compress.exporting.checked import export_artifact
from compress.onnx_graph.files import external_files, load_graph
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS, images


class Batches:
    def loader(self, split, preprocessor, *, batch_size, **_):
        yield {name: values[:batch_size] for name, values in images(16).items()}


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3)).eval()


@pytest.fixture
def context(tmp_path):
    return Context(
        reference=artifact_of(0),
        task=TASKS["image-classification"],
        data=Batches(),
        directory=tmp_path,
    )


def artifact_of(seed):
    return Artifact(
        Format.TORCH, network(seed), preprocessor=ImagePreprocessor(), labels=tuple(LABELS)
    )


def test_its_file_is_copied(context, tmp_path, monkeypatch):
    artifact = artifact_of(0)
    first, again = tmp_path / "first.onnx", tmp_path / "again.onnx"
    export_artifact(artifact, context, first)
    known = replace(artifact, exported=first)
    export_artifact(known, context, tmp_path / "other.onnx", opset=18)
    assert load_graph(tmp_path / "other.onnx").opset == 18 != load_graph(first).opset
    monkeypatch.setattr(checked, "export_module", lambda *_, **__: pytest.fail("exported again"))
    assert export_artifact(known, context, again).max_error < 1e-5
    assert again.read_bytes() == first.read_bytes()


def test_a_file_of_other_weights_is_refused(context, tmp_path):
    export_artifact(artifact_of(0), context, tmp_path / "first.onnx")
    wrong = replace(artifact_of(1), exported=tmp_path / "first.onnx")
    with pytest.raises(ParityError):
        export_artifact(wrong, context, tmp_path / "second.onnx")
    assert not (tmp_path / "second.onnx").exists()


def test_a_refused_copy_leaves_no_weights_beside_it(context, tmp_path, monkeypatch):
    monkeypatch.setattr("compress.onnx_graph.files.SINGLE_FILE_BYTES", 1000)
    source, folder = tmp_path / "stage" / "model.onnx", tmp_path / "export"
    folder.mkdir()
    export_artifact(artifact_of(0), context, source)
    assert [file.name for file in external_files(source)] == ["model.onnx.data"]
    wrong = replace(artifact_of(1), exported=source)
    with pytest.raises(ParityError):
        export_artifact(wrong, context, folder / "other.onnx")
    assert not list(folder.iterdir())
    assert source.is_file()
    right = replace(artifact_of(0), exported=source)
    assert export_artifact(right, context, folder / "other.onnx").max_error < 1e-5


def test_another_module_has_no_file_yet(context, tmp_path):
    export_artifact(artifact_of(0), context, tmp_path / "first.onnx")
    known = replace(artifact_of(0), exported=tmp_path / "first.onnx")
    assert known.with_module(network(1)).exported is None
    assert known.with_onnx(tmp_path / "first.onnx", format=Format.ONNX).exported is None
