"""What the export stage hands over, in each precision, from a module and from a file."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.errors import ParityError, StageError
from compress.measurement.runtimes.openvino import OpenVinoModel
from compress.measurement.session import run, session
from compress.models.resnet import resnet
from compress.models.source import PythonSource
from compress.models.spec import ModelSpec
from compress.stages.export import Export
from compress.tasks.task import task as find_task
from tests.extras import needs_openvino


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A CNN with BatchNorm statistics of digits, and its context."""
    torch.manual_seed(0)
    task = find_task("image-classification")
    spec = DataSpec(sklearn="digits")
    data = load_data(spec, task=task, labels=(), seed=0)
    arguments = {"blocks": [1], "width": 4, "in_channels": 1, "num_classes": 10}
    artifact = Artifact(
        format=Format.TORCH,
        module=resnet(blocks=(1,), width=4, in_channels=1, num_classes=10),
        source=PythonSource("compress.models.resnet:resnet", arguments),
        preprocessor=load_preprocessor(None, task=task, spec=spec),
        labels=data.labels,
    )
    module = artifact.require_module().train()
    with torch.no_grad():
        for batch in data.loader("train", artifact.require_preprocessor(), batch_size=128):
            module(batch["pixel_values"])
    module.eval()
    directory = tmp_path_factory.mktemp("exported")
    return artifact, Context(reference=artifact, task=task, data=data, directory=directory)


@pytest.fixture(scope="module")
def half(problem):
    """Lowered for images of any size, in half precision."""
    artifact, context = problem
    return Export(precision="fp16", dynamic_image_size=True).apply(artifact, context)


def test_half_precision_of_any_image_size(problem, half):
    module = problem[0].require_module()
    assert half.format is Format.ONNX
    assert [file.name for file in half.bundle.glob("*.onnx*")] == ["model.onnx"]
    kinds = {tensor.data_type for tensor in onnx.load(half.onnx).graph.initializer}
    assert kinds <= {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}
    images = torch.rand(3, 1, 11, 14)
    with torch.no_grad():
        wanted = module(images).numpy()
    got = run(session(half.onnx, threads=1), {"pixel_values": images})["logits"]
    np.testing.assert_allclose(got, wanted, atol=0.02 * np.abs(wanted).max())
    against_torch, against_fp32, example = half.notes[1:]
    for rung in ("1 of 8x8: ", "3 of 8x8: ", "12 of 8x8: ", "2 of 12x10: "):
        assert rung in against_torch
    assert against_fp32.startswith("fp16, with float32 inputs and outputs; against fp32: max error")
    assert example.startswith("infer.py on 8 raw samples: largest difference ")


def test_a_file_of_an_earlier_stage_is_halved_but_not_exported_anew(problem, tmp_path):
    artifact, context = problem
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    made = Export().apply(artifact, replace(context, directory=first))
    again = Export(precision="fp16", dynamic_image_size=True, opset=18)
    found = again.apply(made, replace(context, directory=second))
    assert (first / "bundle" / "model.onnx").exists()
    assert onnx.load(found.onnx).graph.initializer[0].data_type == onnx.TensorProto.FLOAT16
    assert any(note.startswith("'opset: 18' isn't used") for note in found.notes)
    assert any(note.startswith("'dynamic_image_size' isn't used") for note in found.notes)
    quantized = made.with_onnx(_quantized(made.onnx, tmp_path), format=Format.ONNX_INT8)
    with pytest.raises(StageError, match="'precision: fp16' needs a float model"):
        again.apply(quantized, replace(context, directory=tmp_path))


def _quantized(path, folder):
    model = onnx.load(path)
    model.graph.node.append(onnx.helper.make_node("DynamicQuantizeLinear", ["logits"], list("abc")))
    onnx.save(model, folder / "int8.onnx")
    return folder / "int8.onnx"


def test_what_an_option_is_not_for_is_said_before_the_run():
    stage = Export(dynamic_image_size=True)
    options = {"model": ModelSpec(transformers="x"), "data": DataSpec(sklearn="digits")}
    assert stage.check(task="image-classification", **options) == []
    ((key, sentence),) = stage.check(task="text-classification", **options)
    assert (key, "text-classification" in sentence) == ("dynamic_image_size", True)
    assert Export(precision="fp16").summarize() == "default opset, fp16, tolerance 0.0001"


@needs_openvino
def test_openvinos_own_form_lies_in_the_bundle_and_answers_alike(problem, tmp_path):
    artifact, context = problem
    made = Export(openvino=True).apply(artifact, replace(context, directory=tmp_path))
    form = made.bundle / "openvino_model.xml"
    assert form.with_suffix(".bin").stat().st_size > 1000
    assert b"FP16" not in form.read_bytes()
    images = {"pixel_values": np.random.default_rng(0).random((5, 1, 8, 8), np.float32)}
    wanted = run(session(made.onnx, threads=1), images)["logits"]
    got = OpenVinoModel(form, threads=1).run(images)["logits"]
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)
    [note] = [note for note in made.notes if note.startswith("openvino_model.xml in OpenVINO")]
    assert "top-1 agreement 100.0% on 64 samples" in note


@needs_openvino
def test_a_form_that_answers_otherwise_ends_the_stage(problem, tmp_path, monkeypatch):
    artifact, context = problem
    own = OpenVinoModel.run

    def wrong(self, batch):
        return {name: value + 1 for name, value in own(self, batch).items()}

    monkeypatch.setattr(OpenVinoModel, "run", wrong)
    with pytest.raises(ParityError, match="doesn't answer as model"):
        Export(openvino=True).apply(artifact, replace(context, directory=tmp_path))


def test_openvinos_form_is_refused_where_it_isnt_installed(monkeypatch):
    monkeypatch.setattr("compress.measurement.runtimes.names.find_spec", lambda name: None)
    options = {"model": ModelSpec(transformers="x"), "data": DataSpec(sklearn="digits")}
    found = Export(openvino=True).check(task="image-classification", **options)
    assert found == [("openvino", "needs openvino: pip install 'compress[openvino]'.")]
    assert Export(openvino=True).summarize().endswith(", OpenVINO IR")
