"""A student of n-grams in whole runs, bundle included."""

import json
import subprocess
import sys
from itertools import pairwise

import pytest
import torch

import compress
from compress.errors import StageError
from compress.models.checkpoint import load_checkpoint
from compress.models.ngrams.source import NgramSource
from compress.recipe.load import recipe_from_dict
from compress.report.terminal import render
from tests.stages.texts import save_tokenizer

BERT = {
    "model_type": "bert",
    "vocab_size": 450,
    "num_labels": 4,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
NGRAMS = {"pieces": [1, 3], "buckets": 512, "width": 16, "hidden": [16], "dropout": 0.1}
LEARNT = {"epochs": 8, "batch_size": 16, "learning_rate": 3e-2, "weight_decay": 0.0}


def recipe(folder, ngrams=NGRAMS, **distill):
    return recipe_from_dict(
        {
            "version": 1,
            "name": "small",
            "model": {"config": BERT},
            "task": "text-classification",
            "data": {
                "python": "tests.stages.texts:coloured",
                "tokenizer": folder,
                "max_length": 16,
            },
            "measure": {
                "batch_sizes": [1, 2],
                "rounds": 5,
                "warmup": 1,
                "seconds": 0.01,
                "baseline": None,
                "from_text": True,
            },
            "stages": [
                {"use": "train", "training": {"epochs": 3, "learning_rate": 3e-3}},
                {
                    "use": "distill",
                    "student": {"ngrams": ngrams},
                    **{"training": LEARNT, **distill},
                },
                {"use": "quantize", "method": "storage"},
                {"use": "export"},
            ],
        }
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    torch.set_num_threads(1)
    return save_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def ran(tokenizer, tmp_path_factory):
    output = tmp_path_factory.mktemp("run") / "small"
    return compress.run(recipe(tokenizer), output=output), output


def test_it_learns_is_quantized_and_exported(ran):
    report, _ = ran
    _, _, distilled, quantized, exported = report.stages
    assert distilled.quality.value > 0.9
    assert quantized.quality.value > distilled.quality.value - 0.02
    assert distilled.params == (450 + 512) * 16 + (16 * 16 + 16) + (16 * 4 + 4)
    assert quantized.size_bytes < 0.4 * distilled.size_bytes
    assert exported.quality == quantized.quality


def test_every_row_is_timed_from_a_text_too(ran):
    report, output = ran
    for row in report.stages:
        assert set(row.from_text.latency_ms) == set(row.from_text.speedup) == {"1", "2"}
        assert all(latency.p50 > 0 for latency in row.from_text.latency_ms.values())
    assert report.stages[-1].from_text == report.stages[-2].from_text
    for name in ("report.md", "report.html"):
        assert "From a text to its answer" in (output / name).read_text(encoding="utf-8")
    assert "From a text to its answer:" in render(report)


def test_the_bundle_answers_texts(ran):
    _, output = ran
    command = [sys.executable, "infer.py", "the car is red near the harbour", "a bird is blue"]
    done = subprocess.run(command, cwd=output, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    likeliest = [below[1] for said, below in pairwise(lines) if said[0] in ("the", "a")]
    assert likeliest == ["red", "blue"]


def test_the_stage_is_kept_as_plain_sizes(ran):
    _, output = ran
    module, source = load_checkpoint(output / "stages" / "02-distill")
    assert isinstance(source, NgramSource)
    assert source.sizes == module.sizes
    assert sum(p.numel() for p in module.parameters()) == source.sizes.parameters


def test_the_same_seed_gives_the_same_weights(ran, tokenizer, tmp_path):
    _, output = ran
    compress.run(recipe(tokenizer), output=tmp_path / "again")
    names = ("checkpoint.safetensors", "structure.json")
    for name in names:
        here, there = (one / "stages/02-distill" / name for one in (output, tmp_path / "again"))
        assert here.read_bytes() == there.read_bytes()


OWN = {"buckets": 4096, "vocabulary": 300, "start": "linear", "rows": 60}
BOTH = {"models": ["reference", "baseline"], "cache": {}}


@pytest.fixture(scope="module")
def own(tokenizer, tmp_path_factory):
    """A run whose student has its own tokenizer, a linear start and two teachers."""
    output = tmp_path_factory.mktemp("own") / "small"
    return compress.run(recipe(tokenizer, OWN, teacher=BOTH), output=output), output


def test_a_student_of_its_own_tokens_learns_of_both_teachers(own):
    report, output = own
    _, trained, distilled, quantized, exported = report.stages
    assert distilled.quality.value > 0.9
    assert quantized.quality.value > distilled.quality.value - 0.02
    assert exported.quality == quantized.quality
    module, _ = load_checkpoint(output / "stages" / "02-distill")
    assert 5 < module.sizes.vocabulary < 300
    assert module.sizes.kept == 60
    assert distilled.params == 61 * 4 + 4
    said = " ".join(distilled.notes)
    for words in (
        "a tokenizer of",
        "start: a linear SVM on 96 samples and 60 rows",
        "kept 60 of ",
        "the linear rival",
    ):
        assert words in said
    assert "has other tokens than the reference" in " ".join(exported.notes)
    assert trained.from_text is not None
    assert distilled.from_text is not None
    assert distilled.speedup["1"].vs_original > 0


def test_its_bundle_reads_texts_by_its_own_tokenizer(own):
    _, output = own
    command = [sys.executable, "infer.py", "the car is red near the harbour", "a bird is blue"]
    done = subprocess.run(command, cwd=output, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [below[1] for said, below in pairwise(lines) if said[0] in ("the", "a")] == [
        "red",
        "blue",
    ]
    kept = json.loads((output / "tokenizer.json").read_text(encoding="utf-8"))
    assert kept["normalizer"] == {"type": "Lowercase"}


def test_the_same_seed_gives_the_same_student_of_its_own(own, tokenizer, tmp_path):
    _, output = own
    compress.run(recipe(tokenizer, OWN, teacher=BOTH), output=tmp_path / "again")
    for name in ("checkpoint.safetensors", "structure.json", "preprocessor/tokenizer.json"):
        here, there = (one / "stages/02-distill" / name for one in (output, tmp_path / "again"))
        assert here.read_bytes() == there.read_bytes()


def test_a_linear_start_alone_answers_right(tokenizer, tmp_path):
    made = {"training": {"epochs": 1, "learning_rate": 1e-9}}
    report = compress.run(recipe(tokenizer, OWN, teacher=["baseline"], **made), output=tmp_path)
    assert report.stages[2].quality.value > 0.9


def test_losses_of_single_tokens_need_the_same_tokens(tokenizer, tmp_path):
    losses = {"relation": {"cosine": 1.0}}
    with pytest.raises(StageError, match="tokenizer of its own learns answers to whole texts"):
        compress.run(recipe(tokenizer, OWN, losses=losses), output=tmp_path)
