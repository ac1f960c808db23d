from dataclasses import replace

import pytest
import torch
import transformers
from pydantic import ValidationError

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.data.spec import DataSpec
from compress.errors import StageError
from compress.exporting.checked import export_artifact
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.resnet import resnet
from compress.models.source import PythonSource, TransformersSource
from compress.models.spec import ModelSpec
from compress.stages.depth import Depth
from compress.stages.train import Train
from compress.tasks.task import task
from tests.stages.digits import accuracy, digits, preprocessor

TRAINING = {"epochs": 2, "batch_size": 64, "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A vision transformer that was trained on digits, and its context."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=10,
    )
    module = transformers.ViTForImageClassification(config).eval()
    untrained = Artifact(
        Format.TORCH,
        module,
        TransformersSource.of(module),
        preprocessor=preprocessor(),
        labels=tuple("0123456789"),
    )
    context = Context(
        reference=untrained,
        task=task("image-classification"),
        data=digits(),
        directory=tmp_path_factory.mktemp("train"),
    )
    training = TRAINING | {"epochs": 6}
    trained = Train.model_validate({"training": training}).apply(untrained, context)
    return trained, replace(context, reference=trained)


def apply(problem, directory, **fields):
    trained, context = problem
    stage = Depth.model_validate({"recovery": None} | fields)
    return stage.apply(trained, replace(context, directory=directory))


def test_half_of_the_layers_go_and_recovery_brings_accuracy_back(problem, tmp_path):
    trained = problem[0]
    before = {name: value.clone() for name, value in trained.module.state_dict().items()}
    shorter = apply(problem, tmp_path, layers=2)
    recovered = apply(problem, tmp_path, ratio=0.5, recovery={"training": TRAINING})
    assert all(torch.equal(value, before[n]) for n, value in trained.module.state_dict().items())
    assert accuracy(trained.module) > 0.85
    assert accuracy(recovered.module) > max(0.8, accuracy(shorter.module))
    for made in (shorter, recovered):
        assert made.format == Format.TORCH
        assert len(made.module.vit.layers) == 2
        assert made.source.config["num_hidden_layers"] == 2
        assert made.labels == trained.labels
        assert not made.module.training
    assert shorter.notes[0] == "layers chosen by output on 256 calibration samples."
    assert recovered.notes[: len(shorter.notes)] == shorter.notes
    assert len(recovered.notes) > len(shorter.notes)
    assert (tmp_path / "training.json").is_file()


def test_the_result_can_be_stored_and_exported(problem, tmp_path):
    made = apply(problem, tmp_path, layers=1, criterion="block_influence")
    save_checkpoint(made.module, made.source, tmp_path / "stored")
    again, source = load_checkpoint(tmp_path / "stored")
    [batch] = digits().loader("test", preprocessor(), batch_size=8, limit=8)
    kind = problem[1].task
    with torch.no_grad():
        torch.testing.assert_close(
            kind.logits(again, batch), kind.logits(made.module, batch), rtol=1e-5, atol=1e-6
        )
    stored = made.with_module(again, source=source)
    parity = export_artifact(stored, problem[1], tmp_path / "model.onnx", samples=16)
    assert parity.max_error < 1e-4
    assert parity.agreement == 1


def test_fewer_samples_than_asked_for_are_noted(problem, tmp_path):
    made = apply(problem, tmp_path, layers=3, calibration={"samples": 4000, "batch_size": 512})
    assert "on 512 calibration samples (of 4000 asked for)." in made.notes[0]


def test_what_has_no_layers_to_choose_is_refused(problem, tmp_path):
    trained, context = problem
    module = resnet(blocks=[1], width=4, num_classes=10).eval()
    source = PythonSource("compress.models.resnet:resnet", {"blocks": [1], "width": 4})
    network = trained.with_module(module, source=source)
    with pytest.raises(StageError, match=r"Got ResNet: .*`distill`"):
        apply((network, context), tmp_path, layers=1)
    with pytest.raises(StageError, match=r"'layers' must be at most 3: the model has 4 layers"):
        apply(problem, tmp_path, layers=4)
    with pytest.raises(StageError, match="preprocessor"):
        apply((replace(trained, preprocessor=None), context), tmp_path, layers=2)


def test_a_dry_run_has_the_structure_and_refuses_as_the_work_would(problem, tmp_path):
    trained, context = problem
    made = Depth(layers=3).dry_run(trained, context)
    assert len(made.module.vit.layers) == 3
    assert made.source.config["num_hidden_layers"] == 3
    assert len(trained.module.vit.layers) == 4
    with pytest.raises(StageError, match="at most 3"):
        Depth(layers=4).dry_run(trained, context)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"layers": 2, "ratio": 0.5},
        {"layers": 0},
        {"ratio": 1.0},
        {"layers": 2, "criterion": "first"},
        {"layers": 2, "calibration": {"samples": 0}},
        {"layers": [0, 1]},
    ],
)
def test_bad_fields_are_refused(fields):
    with pytest.raises(ValidationError):
        Depth.model_validate(fields)


def test_what_a_plan_says():
    stage = Depth.model_validate({"layers": 3, "recovery": None})
    assert stage.summarize() == "keep 3 layers, by output; recovery: none"
    stage = Depth.model_validate({"ratio": 0.5, "criterion": "block_influence"})
    assert stage.summarize().startswith("remove 0.5 of the layers, by block_influence; recovery: 3")
    given = {"task": "image-classification", "data": DataSpec(sklearn="digits")}
    assert stage.check(model=ModelSpec(transformers="a"), **given) == []
    given["task"] = "feature-extraction"
    assert stage.check(model=ModelSpec(transformers="a"), **given)[0][0].startswith("recovery.")
