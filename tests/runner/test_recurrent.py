"""A text LSTM from the recipe to the bundle: cut around, quantized, its answers those of torch."""

import compress
from compress.recipe.load import recipe_from_dict
from tests.runner.test_tasks import QUANTIZE, recipe

STAGES = [
    {"use": "prune", "target": {"macs": 0.9}, "round_to": 4, "recovery": None},
    {**QUANTIZE, "target_cpu": "x86-vnni"},
    {"use": "export"},
]


def test_a_text_lstm_is_pruned_quantized_and_exported(tmp_path):
    model = {"python": "tests.exporting.recurrent_nets:bidirectional_lstm"}
    given = recipe("is_red", task="text-classification", model=model, stages=STAGES)
    report = compress.run(recipe_from_dict(given), output=str(tmp_path / "run"), threads=1)
    original, pruned, int8, bundle = report.stages
    assert pruned.macs <= 0.92 * original.macs
    said = [note for note in pruned.notes if f"to {pruned.macs:,} (" in note]
    assert len(said) == 1  # the ledger counts in the graph what pruning counted in the module
    assert any("LSTM rnn computes each of its states" in note for note in pruned.notes)
    assert (int8.params, int8.macs) == (pruned.params, pruned.macs)
    assert any("1 LSTM" in note for note in int8.notes)
    assert int8.size_bytes < pruned.size_bytes
    assert any("infer.py on " in note for note in bundle.notes)
