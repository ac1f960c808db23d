from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from pydantic import ValidationError

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.errors import ParityError, StageError
from compress.measurement.session import run, session
from compress.models.resnet import resnet
from compress.models.source import PythonSource
from compress.quantization.options import Calibration, EvaluationOptions
from compress.stages.export import Export
from compress.stages.quantize.stage import Quantize
from compress.tasks.task import task as find_task
from tests.stages.digits import exported_once

SMALL = Calibration(samples=32, method="minmax")
QUICK = EvaluationOptions(samples=100, rounds=5, seconds=0.01)
STATIC = Quantize(method="static", calibration=SMALL, evaluation=QUICK, target_cpu="x86-vnni")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A CNN with BatchNorm statistics of digits, as (artifact, context)."""
    torch.manual_seed(0)
    task = find_task("image-classification")
    spec = DataSpec(sklearn="digits", calibration_samples=40)
    data = load_data(spec, task=task, labels=(), seed=0)
    arguments = {"blocks": [1, 1], "width": 8, "in_channels": 1, "num_classes": 10}
    artifact = Artifact(
        format=Format.TORCH,
        module=resnet(blocks=(1, 1), width=8, in_channels=1, num_classes=10),
        source=PythonSource("compress.models.resnet:resnet", arguments),
        preprocessor=load_preprocessor(None, task=task, spec=spec),
        labels=data.labels,
    )
    module = artifact.require_module().train()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for batch in data.loader("train", artifact.require_preprocessor(), batch_size=64):
        optimizer.zero_grad()
        scores = module(batch["pixel_values"])
        torch.nn.functional.cross_entropy(scores, batch["labels"]).backward()
        optimizer.step()
    module.eval().requires_grad_(True)
    directory = tmp_path_factory.mktemp("context")
    context = Context(reference=artifact, task=task, data=data, directory=directory)
    return exported_once(artifact, context, directory), context


@pytest.fixture
def apply(problem, tmp_path):
    """Applies a stage in a folder of its own."""

    def apply(stage, artifact=None, *, context=problem[1]):
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return stage.apply(artifact or problem[0], replace(context, directory=folder))

    return apply


def _batch(problem):
    artifact, context = problem
    loader = context.data.loader("test", artifact.require_preprocessor(), batch_size=180)
    return next(iter(loader))


def _scores(path, batch):
    return run(session(path, threads=1), batch)["logits"]


def test_export_writes_a_bundle_that_answers_as_the_module(problem, apply):
    made = apply(Export(), replace(problem[0], exported=None))
    assert made.format is Format.ONNX
    assert (made.module, made.source) == (None, None)
    assert made.labels == problem[0].labels
    assert made.bundle is not None
    assert made.onnx == made.bundle / "model.onnx"
    names = {file.name for file in made.bundle.iterdir()}
    kept = {"model.onnx", "labels.json", "preprocessing.json", "infer.py", "samples.npz"}
    assert names >= kept
    without = apply(Export(keep_samples=0))
    assert without.bundle is not None
    assert not (without.bundle / "samples.npz").exists()
    batch = _batch(problem)
    with torch.no_grad():
        wanted = problem[0].require_module()(batch["pixel_values"]).numpy()
    np.testing.assert_allclose(_scores(made.onnx, batch), wanted, atol=1e-4)
    assert made.notes[0] == "ONNX opset 20"
    assert "top-1 agreement 100.0% on 64 samples" in made.notes[1]


def test_export_beyond_the_tolerance_is_an_error(apply):
    with pytest.raises(ParityError, match="doesn't answer as ResNet"):
        apply(Export(tolerance=1e-12))


def test_quantize_a_module_leaves_only_the_int8_file(problem, apply):
    made = apply(STATIC)
    assert made.format is Format.ONNX_INT8
    left = {file.name for file in made.require_onnx().parent.iterdir()}
    assert left == {"model.onnx", "candidates.json"}
    kinds = {node.op_type for node in onnx.load(made.require_onnx()).graph.node}
    assert "QuantizeLinear" in kinds
    assert any(note.startswith("static QDQ, U8S8") for note in made.notes)
    assert any("8-bit weights can't saturate" in note for note in made.notes)
    assert "calibrated on 32 samples, method minmax" in made.notes
    batch = _batch(problem)
    with torch.no_grad():
        wanted = problem[0].require_module()(batch["pixel_values"]).argmax(-1).numpy()
    assert (_scores(made.require_onnx(), batch).argmax(-1) == wanted).mean() > 0.9


def test_both_orders_give_the_same_model(problem, apply):
    quantized = apply(Export(), apply(STATIC))
    exported = apply(STATIC, apply(Export()))
    assert quantized.format is exported.format is Format.ONNX_INT8
    batch = _batch(problem)
    np.testing.assert_array_equal(
        _scores(quantized.require_onnx(), batch), _scores(exported.require_onnx(), batch)
    )
    assert exported.bundle is None


def test_export_of_an_int8_file_says_how_often_it_agrees_with_the_reference(apply):
    quantized = apply(STATIC)
    before = quantized.require_onnx().read_bytes()
    made = apply(Export(opset=19), quantized)
    assert made.require_onnx().read_bytes() == before
    assert quantized.require_onnx().read_bytes() == before
    assert any(note.startswith("against the reference: top-1 agreement") for note in made.notes)
    assert "'opset: 19' isn't used: the model was exported before" in made.notes


def test_what_calibration_could_not_have_is_noted(apply):
    options = Calibration(samples=500, method="percentile")
    made = apply(STATIC.model_copy(update={"calibration": options}))
    wanted = "calibrated on 40 samples (of 500 asked for; the split has no more), method percentile"
    assert wanted in made.notes


def test_a_file_that_answers_nan_is_an_error(apply, tmp_path):
    exported = apply(Export())
    model = onnx.load(exported.require_onnx())
    bias = next(t for t in model.graph.initializer if t.name == "fc.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(10, np.nan, np.float32), bias.name))
    broken = tmp_path / "broken.onnx"
    onnx.save(model, broken)
    with pytest.raises(StageError, match="aren't finite"):
        apply(Export(), exported.with_onnx(broken, format=Format.ONNX))


def test_dynamic_convolutions_are_refused(apply):
    with pytest.raises(StageError, match="Use method static"):
        apply(Quantize(method="dynamic"))


def test_the_module_given_is_left_as_it_was(problem, apply):
    module = problem[0].require_module()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    apply(STATIC)
    assert not module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("stage", "fields"),
    [
        (Quantize, {"operators": ["Convolution"]}),
        (Quantize, {"method": "qat"}),
        (Quantize, {"method": "dynamic", "recovery": {}}),
        (Quantize, {"budget": -0.1}),
        (Quantize, {"evaluation": {"batch_sizes": [1, 1]}}),
        (Quantize, {"target_cpu": "pentium"}),
        (Quantize, {"improve": ["luck"]}),
        (Quantize, {"calibration": {"samples": 0}}),
        (Quantize, {"calibration": {"percentile": 10}}),
        (Export, {"opset": 7}),
        (Export, {"tolerance": 0}),
        (Export, {"samples": 0}),
    ],
)
def test_bad_values_are_refused(stage, fields):
    with pytest.raises(ValidationError):
        stage.model_validate(fields)


def test_summaries_are_a_few_words():
    assert Export().summarize() == "default opset, fp32, tolerance 0.0001"
    assert STATIC.summarize() == "static, minmax on 32 samples, per channel"
    assert "best calibration on 128 samples, at most 0.005 lost" in Quantize().summarize()
    assert Quantize(method="dynamic", per_channel=False).summarize() == "dynamic, per tensor"
