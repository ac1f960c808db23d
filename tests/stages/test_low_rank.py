from dataclasses import replace

import onnx
import pytest
import torch
from pydantic import ValidationError
from transformers import BertConfig, BertForSequenceClassification

import compress
from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.errors import StageError, TargetError
from compress.exporting.checked import export_artifact
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import LowRankSource, TransformersSource
from compress.models.spec import ModelSpec
from compress.pruning.cost.model import count_params
from compress.stages.depth import Depth
from compress.stages.low_rank import LowRank
from compress.stages.prune.stage import Prune
from compress.tasks.task import task
from tests.stages.digits import accuracy, trained
from tests.stages.texts import coloured, save_tokenizer

TRAINING = {"epochs": 2, "batch_size": 64, "learning_rate": 5e-3}


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """A trained network for digits, and its context."""
    return trained(tmp_path_factory.mktemp("train"), epochs=5)


def stage(**fields):
    return LowRank.model_validate({"recovery": None} | fields)


def apply(problem, directory, **fields):
    return stage(**fields).apply(problem[0], replace(problem[1], directory=directory))


def test_half_of_the_parameters_go_and_recovery_brings_accuracy_back(problem, tmp_path):
    trained = problem[0]
    before = {name: value.clone() for name, value in trained.module.state_dict().items()}
    made = apply(problem, tmp_path, target={"params": 0.4})
    recovered = apply(
        problem, tmp_path, target={"params": 0.4}, recovery={"training": TRAINING | {"epochs": 4}}
    )
    assert all(torch.equal(before[n], v) for n, v in trained.module.state_dict().items())
    whole = count_params(trained.module)
    assert count_params(made.module) / whole == pytest.approx(0.4, rel=0.021)
    assert count_params(recovered.module) == count_params(made.module)
    assert accuracy(trained.module) > 0.9
    assert accuracy(recovered.module) > max(0.88, accuracy(made.module))
    assert recovered.source == made.source
    assert isinstance(made.source, LowRankSource)
    assert made.source.base == trained.source
    assert not recovered.module.training
    assert recovered.notes[: len(made.notes)] == made.notes
    assert made.notes[0] == "split by activations on 256 calibration samples."
    assert (tmp_path / "training.json").is_file()


def test_activations_lose_less_than_weights_do(problem, tmp_path):
    found = {
        method: accuracy(apply(problem, tmp_path, ratio=0.6, method=method).module)
        for method in ("activation", "svd")
    }
    assert found["activation"] > found["svd"]


def test_it_is_stored_loaded_and_exported(problem, tmp_path):
    made = apply(problem, tmp_path, ratio=0.5)
    save_checkpoint(made.module, made.source, tmp_path / "stored")
    again, source = load_checkpoint(tmp_path / "stored")
    assert source == made.source
    assert accuracy(again) == accuracy(made.module)
    path = tmp_path / "model.onnx"
    export_artifact(made, replace(problem[1], directory=tmp_path), path)  # checks the answers
    names = [tensor.name for tensor in onnx.load(path).graph.initializer]
    split, rank = next(iter(made.source.ranks.items()))
    assert f"{split}.reduce.weight" in names
    assert made.module.get_submodule(split).rank == rank


def test_a_dry_run_tells_the_structure_or_what_cannot_be_done(problem, tmp_path):
    context = replace(problem[1], directory=tmp_path)
    told = stage(ratio=0.5).dry_run(problem[0], context)
    made = stage(ratio=0.5).apply(problem[0], context)
    assert told.source == made.source
    assert count_params(told.module) == count_params(made.module)
    assert stage(target={"macs": 0.5}).dry_run(problem[0], context) is None
    for method in ("dry_run", "apply"):
        with pytest.raises(TargetError, match=r"0\.\d+ of the model's macs remain"):
            getattr(stage(target={"macs": 0.01}), method)(problem[0], context)
        with pytest.raises(StageError, match="'exclude' must be patterns"):
            getattr(stage(ratio=0.5, exclude=["head*"]), method)(problem[0], context)


def test_a_convolutional_network_can_be_pruned_after_it(problem, tmp_path):
    made = apply(problem, tmp_path, ratio=0.4)
    context = replace(problem[1], directory=tmp_path)
    smaller = Prune(target={"params": 0.7}, recovery=None).apply(made, context)
    save_checkpoint(smaller.module, smaller.source, tmp_path / "stored")
    again, _ = load_checkpoint(tmp_path / "stored")
    assert count_params(again) < 0.75 * count_params(made.module)
    assert accuracy(again) == accuracy(smaller.module)


def test_too_few_samples_are_noted(problem, tmp_path):
    made = apply(problem, tmp_path, ratio=0.5, calibration={"samples": 5000, "batch_size": 64})
    assert made.notes[0] == "split by activations on 512 calibration samples (of 5000 asked for)."
    plain = apply(problem, tmp_path, ratio=0.5, method="svd")
    assert plain.notes[0] == "split by the singular values of the weights; no data was read."


def test_a_source_is_needed(problem, tmp_path):
    bare = replace(problem[0], source=None)
    with pytest.raises(StageError, match="needs a source"):
        stage(ratio=0.5, method="svd").apply(bare, replace(problem[1], directory=tmp_path))


def test_a_transformer_for_texts_is_split_and_learns(tmp_path):
    torch.set_num_threads(1)
    folder = save_tokenizer(tmp_path / "tokenizer")
    kind = task("text-classification")
    spec = DataSpec(python=f"{coloured.__module__}:coloured", tokenizer=folder, max_length=16)
    data = load_data(spec, task=kind, labels=(), seed=0)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=420,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        num_labels=4,
    )
    module = BertForSequenceClassification(config).eval()
    artifact = Artifact(
        Format.TORCH,
        module,
        TransformersSource.of(module),
        preprocessor=load_preprocessor(None, task=kind, spec=spec),
        labels=data.labels,
    )
    context = Context(artifact, kind, data, tmp_path)
    made = stage(
        target={"params": 0.95},
        calibration={"samples": 20, "batch_size": 8},
        recovery={"training": {"epochs": 1, "batch_size": 32}},
    ).apply(artifact, context)
    assert made.source.base == artifact.source
    assert any(path.startswith("bert.encoder.layer.0.") for path in made.source.ranks)
    for later in (Prune(target={"macs": 0.5}, recovery=None), Depth(ratio=0.5, recovery=None)):
        with pytest.raises(StageError, match="split after it"):
            later.apply(made, context)
    save_checkpoint(made.module, made.source, tmp_path / "stored")
    again, _ = load_checkpoint(tmp_path / "stored")
    state = again.state_dict()
    assert all(torch.equal(state[name], v) for name, v in made.module.state_dict().items())


@pytest.mark.parametrize(
    "fields",
    [{}, {"ratio": 0.5, "energy": 0.5}, {"ratio": 0}, {"ratio": 0.5, "method": "nmf"}],
)
def test_bad_fields_are_refused(fields):
    with pytest.raises(ValidationError):
        LowRank.model_validate(fields)


def test_summaries_say_what_will_be_done():
    assert stage(ratio=0.5).summarize() == "remove 0.5 of each layer, by activation; recovery: none"
    assert stage(energy=0.9, method="svd").summarize() == (
        "keep 0.9 of each layer's energy, by svd; recovery: none"
    )
    assert "3 epochs" in compress.LowRank(target={"params": 0.5}).summarize()
    assert stage(target={"macs": 0.5}).summarize().startswith("keep 0.5 of macs, by activation")


def test_problems_of_the_recovery_are_seen_in_a_recipe():
    given = {"model": ModelSpec(transformers="a"), "data": DataSpec(sklearn="digits")}
    problems = stage(ratio=0.5, recovery={}).check(task="feature-extraction", **given)
    assert "recovery.losses.response" in [key for key, _ in problems]
    assert stage(ratio=0.5).check(task="image-classification", **given) == []
