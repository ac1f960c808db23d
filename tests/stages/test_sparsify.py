from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

import compress
from compress.errors import StageError
from compress.exporting.checked import export_artifact
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.pruning.sparsity.masks import find_weights, zeros
from compress.stages.sparsify import Sparsify
from tests.stages.digits import accuracy, trained

TRAINING = {"epochs": 2, "batch_size": 64, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A trained network for digits, and its context."""
    return trained(tmp_path_factory.mktemp("train"), epochs=5)


def stage(**fields):
    return Sparsify.model_validate({"recovery": None} | fields)


def apply(problem, directory, **fields):
    return stage(**fields).apply(problem[0], replace(problem[1], directory=directory))


def test_recovery_keeps_the_zeros_and_brings_accuracy_back(problem, tmp_path):
    trained = problem[0]
    before = {name: value.clone() for name, value in trained.module.state_dict().items()}
    cut = apply(problem, tmp_path, ratio=0.9, scope="global")
    training = TRAINING | {"epochs": 4, "weight_decay": 0.1}
    recovered = apply(problem, tmp_path, ratio=0.9, scope="global", recovery={"training": training})
    assert all(torch.equal(before[n], v) for n, v in trained.module.state_dict().items())
    paths = find_weights(trained.module).paths
    count, total = zeros(cut.module, paths)
    assert abs(count - 0.9 * total) <= 1
    for path in paths:
        old, new = (made.module.get_submodule(path).weight for made in (cut, recovered))
        assert torch.equal(old == 0, new == 0)
        assert not torch.equal(old, new)
    assert accuracy(recovered.module) > max(0.85, accuracy(cut.module) + 0.05)
    assert list(recovered.module.state_dict()) == list(before)
    assert recovered.source == trained.source
    assert not recovered.module.training
    assert all(p.requires_grad for p in recovered.module.parameters())


def test_the_best_epochs_weights_are_masked_too(problem, tmp_path):
    training = TRAINING | {"epochs": 2, "learning_rate": 0.5, "optimizer": "sgd"}
    made = apply(problem, tmp_path, pattern="2:4", recovery={"training": training})
    for path in find_weights(made.module, exclude=["conv"]).paths:
        weight = made.module.get_submodule(path).weight
        groups = weight.movedim(1, -1).reshape(-1, 4)
        assert ((groups != 0).sum(1) <= 2).all()


def test_notes_count_zeros_and_do_not_promise_speed(problem, tmp_path):
    made = apply(problem, tmp_path, pattern="2:4")
    count, total = zeros(made.module, find_weights(made.module, exclude=["conv"]).paths)
    assert count * 2 == total
    told = "\n".join(made.notes)
    assert f"{count:,} of {total:,} weights of" in told
    assert "(50.00%)" in told
    assert "gain no speed" in told
    assert "conv (its inputs aren't a multiple of 4)" in told
    assert "a later stage that trains fills the zeros again." in made.notes
    [warning] = stage(ratio=0.5).warnings(task="image-classification", model=None, data=None)
    assert "nothing faster" in warning


def test_it_is_stored_loaded_and_exported(problem, tmp_path):
    made = apply(problem, tmp_path, ratio=0.5, scope="layer")
    save_checkpoint(made.module, made.source, tmp_path / "stored")
    again, _ = load_checkpoint(tmp_path / "stored")
    paths = find_weights(again).paths
    assert zeros(again, paths) == zeros(made.module, paths)
    export_artifact(made, replace(problem[1], directory=tmp_path), tmp_path / "model.onnx")
    for path in paths:
        count, total = zeros(again, [path])
        assert abs(count - 0.5 * total) <= 1


def test_a_dry_run_tells_what_cannot_be_done(problem):
    assert stage(ratio=0.5).dry_run(*problem) is problem[0]
    for method in ("dry_run", "apply"):
        with pytest.raises(StageError, match="'exclude' must be patterns"):
            getattr(stage(ratio=0.5, exclude=["head"]), method)(*problem)


@pytest.mark.parametrize(
    "fields", [{}, {"ratio": 0.5, "pattern": "2:4"}, {"pattern": "5:4"}, {"ratio": 1.0}]
)
def test_bad_fields_are_refused(fields):
    with pytest.raises(ValidationError):
        Sparsify.model_validate(fields)


def test_summaries_say_what_will_be_done():
    assert stage(pattern="2:4").summarize() == "2:4 zeros; recovery: none"
    assert stage(ratio=0.5).summarize() == "0.5 zeros in each layer; recovery: none"
    assert "over all layers" in stage(ratio=0.5, scope="global").summarize()
    assert "3 epochs" in compress.Sparsify(ratio=0.5).summarize()
