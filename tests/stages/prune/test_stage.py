import pytest
import torch
from pydantic import ValidationError

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.errors import StageError, TargetError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.stages.prune.stage import Prune
from tests.stages.digits import accuracy, preprocessor, trained

TRAINING = {"epochs": 2, "batch_size": 64, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A trained network for digits, and its context."""
    return trained(tmp_path_factory.mktemp("train"), epochs=5)


def stage_context(problem, directory):
    trained, context = problem
    return Context(trained, context.task, context.data, directory)


def test_half_of_the_macs_go_and_recovery_brings_accuracy_back(problem, tmp_path):
    trained, context = problem[0], stage_context(problem, tmp_path)
    fields = {"target": {"macs": 0.5}, "recovery": {"training": TRAINING | {"epochs": 4}}}
    before = {name: value.clone() for name, value in trained.module.state_dict().items()}
    cut = Prune.model_validate(fields | {"recovery": None}).apply(trained, context)
    recovered = Prune.model_validate(fields).apply(trained, context)
    for name, value in trained.module.state_dict().items():
        assert torch.equal(value, before[name])
    assert accuracy(trained.module) > 0.9
    assert accuracy(recovered.module) > max(0.85, accuracy(cut.module))
    assert recovered.format == Format.TORCH
    assert recovered.source == trained.source
    assert not recovered.module.training
    assert any("MACs" in note and ("(49." in note or "(50." in note) for note in recovered.notes)
    assert recovered.notes[: len(cut.notes)] == cut.notes
    assert len(recovered.notes) > len(cut.notes)
    assert (tmp_path / "training.json").is_file()
    shapes = [tuple(p.shape) for p in cut.module.parameters()]
    assert [tuple(p.shape) for p in recovered.module.parameters()] == shapes


def test_the_result_can_be_stored(problem, tmp_path):
    trained, context = problem[0], stage_context(problem, tmp_path)
    stage = Prune.model_validate({"target": {"params": 0.4}, "recovery": None})
    cut = stage.apply(trained, context)
    save_checkpoint(cut.module, cut.source, tmp_path / "stored")
    again, _ = load_checkpoint(tmp_path / "stored")
    [batch] = context.data.loader("test", preprocessor(), batch_size=4, limit=4)
    inputs = {"pixel_values": batch["pixel_values"]}
    with torch.no_grad():
        assert torch.equal(
            context.task.logits(again, inputs), context.task.logits(cut.module, inputs)
        )


def test_targets_out_of_reach(problem, tmp_path):
    stage = Prune.model_validate({"target": {"macs": 0.001}, "recovery": None})
    with pytest.raises(TargetError, match="can't be met"):
        stage.apply(problem[0], stage_context(problem, tmp_path))


def test_a_preprocessor_is_needed(problem, tmp_path):
    trained, context = problem[0], stage_context(problem, tmp_path)
    bare = Artifact(Format.TORCH, trained.module, trained.source)
    with pytest.raises(StageError, match="preprocessor"):
        Prune.model_validate({"target": {"macs": 0.5}}).apply(bare, context)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"target": {"macs": 1.5}},
        {"target": {"macs": 0.5}, "units": []},
        {"target": {"macs": 0.5}, "units": ["layers"]},
        {"target": {"macs": 0.5}, "scope": "block"},
        {"target": {"macs": 0.5}, "round_to": 0},
        {"target": {"macs": 0.5}, "ratio": 0.5},
    ],
)
def test_bad_fields_are_refused(fields):
    with pytest.raises(ValidationError):
        Prune.model_validate(fields)


def test_summary_says_what_will_be_done():
    stage = Prune.model_validate({"target": {"macs": 0.5}, "recovery": None})
    assert stage.summarize() == "keep 0.5 of macs; recovery: none"
    assert "3 epochs" in Prune.model_validate({"target": {"params": 0.5}}).summarize()
