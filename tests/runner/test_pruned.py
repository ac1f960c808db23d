"""A language model whose keys are shared, pruned from recipe to bundle; and an encoder of T5."""

from pathlib import Path
from typing import Any

import pytest

import compress
from compress.core.batch import model_inputs
from compress.core.context import Context
from compress.pruning.cost.model import count_cost
from compress.recipe.load import recipe_from_dict
from compress.recipe.schema import Recipe
from compress.runner.inputs import load_inputs

pytestmark = pytest.mark.slow

TEXTS = {
    "python": "compress.data.sources.docstrings:load_docstrings",
    "tokenizer": {"train": {"vocab_size": 400}},
    "max_length": 32,
    "limit": {"train": 120, "validation": 20, "test": 30},
    "calibration_samples": 32,
}
QUICK = {"rounds": 5, "warmup": 1, "seconds": 0.01, "batch_sizes": [1, 2]}
LLAMA = {
    "model_type": "qwen2",
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
T5 = {"model_type": "t5", "vocab_size": 400, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2,
      "num_heads": 4}  # fmt: skip


def recipe(**fields: Any) -> Recipe:
    return recipe_from_dict(
        {"version": 1, "name": "pruned", "measure": QUICK, "data": TEXTS} | fields
    )


def test_a_decoder_with_shared_keys_loses_neurons_heads_and_hidden_units(tmp_path: Path) -> None:
    training = {"epochs": 1, "batch_size": 8, "learning_rate": 2.0e-3}
    prune = {
        "use": "prune",
        "units": ["feed_forward", "heads", "hidden"],
        "ratios": {"*": 0.5},
        "importance": "activation",
        "calibration": {"samples": 16, "batch_size": 8},
        "recovery": {"training": training, "losses": {"response": {"temperature": 1.0}}},
    }
    values = recipe(
        model={"config": LLAMA}, task="text-generation", stages=[prune, {"use": "export"}]
    )
    report = compress.run(values, output=tmp_path / "run", threads=1)
    original, pruned, exported = report.stages
    assert pruned.params < 0.55 * original.params
    assert pruned.macs < 0.45 * original.macs
    assert exported.quality.value < 400, "better than chance"
    notes = " ".join(pruned.notes)
    assert "heads kept: 1 of 2 by layer" in notes
    assert "hidden kept: 16 of 32" in notes
    assert (tmp_path / "run" / "model.onnx").is_file()


def test_an_encoder_of_t5_loses_the_same_heads_in_all_layers(tmp_path: Path) -> None:
    prune = {"use": "prune", "target": {"macs": 0.6}, "recovery": None, "round_to": 1}
    values = recipe(
        model={"config": T5}, task="feature-extraction", stages=[prune, {"use": "export"}]
    )
    inputs = load_inputs(values)
    original = inputs.original
    context = Context(original, inputs.task, inputs.data, tmp_path)
    pruned = values.stages[0].stage.apply(original, context)
    [batch] = inputs.data.loader("test", original.require_preprocessor(), batch_size=1, limit=1)
    before, after = (
        count_cost(made.require_module(), task=inputs.task, inputs=model_inputs(batch)).macs
        for made in (original, pruned)
    )
    assert after == pytest.approx(0.6 * before, rel=0.03)
    assert any("heads" in note and "by layer" in note for note in pruned.notes)
