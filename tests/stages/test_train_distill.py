import json
import subprocess
import sys

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.errors import StageError
from compress.models.source import PythonSource, TransformersSource
from compress.stages.distill import Distill
from compress.stages.train import Train
from compress.tasks.task import task
from tests.stages.digits import accuracy, digits, preprocessor

LABELS = tuple("0123456789")
TRAINING = {"epochs": 6, "batch_size": 32, "learning_rate": 5e-3}


def perceptron(width, outputs=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, outputs))


def plain(width):
    source = PythonSource(f"{__name__}:perceptron", {"width": width})
    torch.manual_seed(0)
    return Artifact(
        Format.TORCH, source.build(), source, preprocessor=preprocessor(), labels=LABELS
    )


@pytest.fixture
def make_context(tmp_path):
    def make(reference, **changes):
        kind = task("image-classification")
        return Context(reference, kind, digits(), tmp_path, **changes)

    return make


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    artifact = plain(64)
    kind, folder = task("image-classification"), tmp_path_factory.mktemp("teacher")
    stage = Train(training=TRAINING, label_smoothing=0.05)
    return stage.apply(artifact, Context(artifact, kind, digits(), folder))


def test_train_makes_a_reference_that_knows_digits(teacher):
    assert Train.makes_reference
    assert accuracy(teacher.module) > 0.9
    assert teacher.notes[0].startswith("kept epoch ")
    assert teacher.source == plain(64).source
    assert teacher.labels == LABELS


def test_a_plain_student_learns_from_its_teacher_alone(teacher, make_context, tmp_path):
    before = {name: tensor.clone() for name, tensor in teacher.module.state_dict().items()}
    student = {"python": f"{__name__}:perceptron", "arguments": {"width": 16}}
    stage = Distill(student=student, losses={"labels": None}, training=TRAINING)
    result = stage.apply(teacher, make_context(teacher))
    assert accuracy(result.module) > 0.85
    assert result.source == PythonSource(student["python"], {"width": 16})
    assert result.module[1].out_features == 16
    assert all(torch.equal(before[name], t) for name, t in teacher.module.state_dict().items())
    assert result.notes[0] == f"student: untrained, from {__name__}:perceptron"
    written = json.loads((tmp_path / "training.json").read_text())
    losses = [epoch["losses"]["response"] for epoch in written["epochs"]]
    assert losses[-1] < losses[0] / 2


def test_without_a_student_the_model_itself_recovers(teacher, make_context):
    hurt = teacher.with_module(plain(64).module)
    result = Distill(training=TRAINING).apply(hurt, make_context(teacher))
    assert accuracy(hurt.module) < 0.5
    assert accuracy(result.module) > 0.85
    assert result.source == hurt.source


def test_a_student_with_other_outputs_is_refused(teacher, make_context):
    student = {"python": f"{__name__}:perceptron", "arguments": {"width": 4, "outputs": 9}}
    with pytest.raises(StageError, match=r"of shape \(2, 10\)\. Got \(2, 9\)"):
        Distill(student=student).apply(teacher, make_context(teacher))


@pytest.fixture
def vit():
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=4,
        num_channels=1,
        id2label=dict(enumerate(LABELS)),
    )
    module = ViTForImageClassification(config).eval()
    source = TransformersSource.of(module)
    return Artifact(Format.TORCH, module, source, preprocessor=preprocessor(), labels=LABELS)


@pytest.mark.parametrize(
    "student",
    [{"layers": 2}, {"transformers": {"num_hidden_layers": 2}}, {"transformers": "FOLDER"}],
)
def test_transformers_students_train_and_rebuild(vit, make_context, tmp_path, student):
    if student == {"transformers": "FOLDER"}:
        ViTConfig(**(vit.source.config | {"num_hidden_layers": 2})).save_pretrained(tmp_path)
        student = {"transformers": str(tmp_path)}
    stage = Distill(student=student, training={"epochs": 1, "batch_size": 64, "precision": "bf16"})
    first, second = (stage.apply(vit, make_context(vit, seed=4)) for _ in range(2))
    rebuilt = first.source.build()
    rebuilt.load_state_dict(first.module.state_dict())
    assert rebuilt.config.num_hidden_layers == 2
    states = first.module.state_dict(), second.module.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert len(first.notes) == 2


def test_bad_fields_are_refused():
    with pytest.raises(ValidationError):
        Distill(student={"layers": 2, "python": "a:b"})
    with pytest.raises(ValidationError):
        Train(label_smoothing=1.0)
    with pytest.raises(ValidationError):
        Train(epochs=3)


def test_parameters_survive_json():
    stage = Distill(student={"transformers": {"hidden_size": 8}}, losses={"labels": None})
    assert Distill.model_validate_json(stage.model_dump_json()) == stage


def test_summaries():
    assert Train(training={"epochs": 1}).summarize() == "1 epoch, adamw 0.0001, fp32"
    stage = Distill(student={"layers": 3})
    assert stage.summarize() == (
        "student: 3 layers; loss: 0.7 response (T 4) + 0.3 labels; 3 epochs, adamw 0.0001, fp32"
    )


def test_stages_are_imported_without_heavy_libraries():
    program = (
        "import sys, compress.stages.train, compress.stages.distill\n"
        "heavy = {'torch', 'transformers', 'accelerate', 'datasets', 'onnx', 'sklearn'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
