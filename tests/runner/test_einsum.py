"""Attention by `torch.einsum` from the recipe to the bundle: its heads cut, INT8, exported."""

import pytest

import compress
from compress.recipe.load import recipe_from_dict
from tests.runner.test_tasks import QUANTIZE, recipe

MODELS = "tests.models.structure.einsum_models"
HEADS = {"use": "prune", "ratios": {"query": 0.5}, "recovery": None}


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_heads_are_cut_and_every_layer_is_8_bit(method, tmp_path):
    quantize = {**QUANTIZE, "method": method, "target_cpu": "x86-vnni", "improve": []}
    if method == "static":
        quantize["calibration"] = {"samples": 16, "method": "minmax"}
    given = recipe(
        "is_red",
        task="text-classification",
        model={"python": f"{MODELS}:Layers"},
        stages=[HEADS, quantize, {"use": "export"}],
    )
    report = compress.run(recipe_from_dict(given), output=tmp_path / "run", threads=1)
    original, pruned, int8, bundle = report.stages
    assert any("query 2 of 4" in note for note in pruned.notes)
    assert pruned.params == original.params - 2 * 8 * (4 * 32 + 3)
    assert sum(f"to {pruned.macs:,} (" in note for note in pruned.notes) == 1
    assert (int8.params, int8.macs) == (pruned.params, pruned.macs)
    assert any("quantized: 1 Gather, 6 MatMul, 1 Gemm" in note for note in int8.notes)
    assert any("infer.py on " in note for note in bundle.notes)


def test_projections_by_einsum_stay_whole_and_the_rest_is_8_bit(tmp_path):
    given = recipe(
        "is_red",
        task="text-classification",
        model={"python": f"{MODELS}:Weights"},
        stages=[{**QUANTIZE, "target_cpu": "x86-vnni"}, {"use": "export"}],
    )
    report = compress.run(recipe_from_dict(given), output=tmp_path / "run", threads=1)
    original, int8, bundle = report.stages
    assert (int8.params, int8.macs) == (original.params, original.macs)
    assert any("MatMul, 1 Gemm" in note for note in int8.notes)
    assert any("infer.py on " in note for note in bundle.notes)
