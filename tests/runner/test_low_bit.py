"""A run that ends in few bits: a row measured in PyTorch, and a checkpoint in place of a bundle."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import compress
from compress.errors import RecipeError
from compress.models.checkpoint import load_checkpoint
from compress.recipe.load import recipe_from_dict
from compress.report.document import read_report

VALUES: dict[str, Any] = {
    "version": 1,
    "name": "small",
    "model": {
        "config": {
            "model_type": "llama",
            "vocab_size": 320,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 16,
            "bos_token_id": 0,
            "eos_token_id": 0,
        }
    },
    "task": "text-generation",
    "data": {
        "python": "tests.runner.sources:sets_of_colours",
        "arguments": {"with_labels": False},
        "tokenizer": {"train": {"vocab_size": 320}},
        "max_length": 16,
    },
    "measure": {"batch_sizes": [1], "rounds": 5, "warmup": 1, "seconds": 0.01},
    "gates": {"perplexity_ratio": 2.0, "size_ratio": 1.1, "speedup": 0.0001},
    "stages": [{"use": "low_bit", "bits": 4}],
}


def changed(**keys: Any) -> dict[str, Any]:
    return copy.deepcopy(VALUES) | keys


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("low_bit") / "run"
    return folder, compress.run(recipe_from_dict(VALUES), output=folder, threads=1)


@pytest.mark.slow
def test_the_row_is_measured_in_pytorch_and_says_so(run):
    folder, report = run
    original, low = report.stages
    assert report.status == "passed"
    assert (low.params, low.macs) == (original.params, original.macs)
    files = [folder / "stages/01-low_bit" / n for n in ("checkpoint.safetensors", "structure.json")]
    assert low.size_bytes == sum(file.stat().st_size for file in files) < original.size_bytes / 1.1
    assert not list(folder.glob("stages/01-low_bit/*.onnx"))
    assert low.quality.value != original.quality.value
    assert low.quality.value == pytest.approx(original.quality.value, rel=0.1)
    speedup = low.speedup["1"]
    assert speedup.vs_original == speedup.vs_previous > 0
    assert any("measured in PyTorch, as it has no ONNX form" in note for note in low.notes)
    assert not any("PyTorch" in note for note in original.notes)
    assert low.generation.cached
    for rate in (low.generation.prefill, low.generation.decoding):
        assert rate.tokens_per_second > 0
        assert rate.speedup.vs_original == rate.speedup.vs_previous > 0


@pytest.mark.slow
def test_the_report_says_where_the_checkpoint_is_and_it_loads(run):
    folder, report = run
    assert any("01-low_bit; in Python: module, source = " in note for note in report.notes)
    for name in ("report.md", "report.html"):
        assert "measured in PyTorch" in (folder / name).read_text(encoding="utf-8")
    ids = torch.arange(16)[None]
    answers = []
    for _ in range(2):
        module, source = load_checkpoint(folder / "stages/01-low_bit")
        with torch.no_grad():
            answers.append(module(ids).logits)
    assert torch.equal(*answers)
    assert source.to_dict()["kind"] == "low-bit"


@pytest.mark.slow
def test_a_second_run_takes_all_from_disk(run):
    folder, report = run
    stage = folder / "stages/01-low_bit/stage.json"
    before = stage.read_bytes(), stage.stat().st_mtime_ns
    again = compress.run(recipe_from_dict(VALUES), output=folder, threads=1)
    assert (stage.read_bytes(), stage.stat().st_mtime_ns) == before
    assert again.stages == report.stages == read_report(folder).stages


@pytest.mark.slow
def test_a_row_alone_is_measured_anew_from_the_files(run):
    folder, report = run
    measure = VALUES["measure"] | {"rounds": 6}
    again = compress.run(recipe_from_dict(changed(measure=measure)), output=folder, threads=1)
    assert again.stages[1].quality == report.stages[1].quality
    assert json.loads((folder / "stages/01-low_bit/row.json").read_text())["row"]["size_bytes"] == (
        report.stages[1].size_bytes
    )


@pytest.mark.parametrize("use", ["export", "quantize", "prune"])
def test_nothing_may_follow_and_the_reason_is_said(use):
    target = {"target": {"macs": 0.5}} if use == "prune" else {}
    stages = [{"use": "low_bit"}, {"use": use, **target}]
    with pytest.raises(RecipeError) as caught:
        recipe_from_dict(changed(stages=stages))
    said = str(caught.value)
    assert "would be given torch-int8 made by stages[0] (low_bit)" in said
    assert "have no ONNX form, so a pipeline ends with them. Put it before stages[0]" in said


def test_the_missing_package_is_told_by_the_check(monkeypatch):
    monkeypatch.setattr("compress.stages.low_bit.find_spec", lambda name: None)
    with pytest.raises(RecipeError) as caught:
        recipe_from_dict(VALUES)
    [problem] = caught.value.problems
    assert re.search(r"'bits' needs bitsandbytes: pip install 'compress\[", problem)


def test_a_model_without_such_layers_is_refused_before_training(tmp_path: Path):
    gpt2 = {
        "model_type": "gpt2", "vocab_size": 320, "n_embd": 32, "n_layer": 1, "n_head": 2,
        "n_positions": 16, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    stages = [
        {"use": "train", "training": {"epochs": 1}},
        {"use": "low_bit"},
    ]
    values = changed(model={"config": gpt2}, stages=stages, gates={})
    with pytest.raises(compress.errors.StageError, match=r"before any training: GPT2LMHeadModel"):
        compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    assert not (tmp_path / "run/stages/01-train").exists()
