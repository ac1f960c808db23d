"""What `quantize` chooses, improves, trains and refuses, on models that are easy and hard."""

import copy
import json
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compress.core.artifact import Format
from compress.errors import StageError
from compress.measurement.results import NOISE, Evaluation, slower
from compress.measurement.session import run, session
from compress.quantization.adaround.round import optimize_rounding
from compress.quantization.storage import store
from compress.stages.export import Export
from compress.stages.quantize import candidates, improve
from compress.stages.quantize.stage import Quantize
from tests.stages.digits import exported_once, trained

QUICK = {"samples": 180, "rounds": 5, "seconds": 0.01, "batch_sizes": [1, 4]}
SMALL = {"samples": 32}


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    artifact, context = trained(folder, epochs=2)
    return exported_once(artifact, context, folder), context


def _hardened(problem, factor):
    """The same function, but one channel inside each block is that many times as large."""
    artifact, context = problem
    module = copy.deepcopy(artifact.require_module())
    with torch.no_grad():
        for part in module.modules():
            if hasattr(part, "conv2"):
                part.bn1.weight[0] *= factor
                part.bn1.bias[0] *= factor
                part.conv2.weight[:, 0] /= factor
    return artifact.with_module(module), context


@pytest.fixture(scope="module")
def hard(problem, tmp_path_factory):
    """What minmax alone makes useless."""
    artifact, context = _hardened(problem, 1000)
    return exported_once(artifact, context, tmp_path_factory.mktemp("hard")), context


def applied(parent, fields, problem, *, artifact=None):
    """Applies a stage in a folder of its own; returns the artifact and candidates.json."""
    folder = parent / f"{len(list(parent.iterdir()))}"
    folder.mkdir()
    stage = Quantize.model_validate({"evaluation": QUICK, "calibration": SMALL, **fields})
    made = stage.apply(artifact or problem[0], replace(problem[1], directory=folder))
    document = json.loads((folder / "candidates.json").read_text(encoding="utf-8"))
    return made, document["candidates"]


@pytest.fixture
def apply(tmp_path):
    return partial(applied, tmp_path)


@pytest.fixture(scope="module")
def chosen(problem, tmp_path_factory):
    """What a stage without options makes of the easy model."""
    return applied(tmp_path_factory.mktemp("auto"), {}, problem)


def _kinds(made):
    return {node.op_type for node in onnx.load(made.require_onnx()).graph.node}


def _metadata(made):
    model = onnx.load(made.require_onnx())
    return {entry.key: entry.value for entry in model.metadata_props}


def _speedups(candidate):
    return [(each["vs_original"], each["ci95"]) for each in candidate["speedup"].values()]


def _slow(candidate):
    """Which form is slow somewhere depends on the machine, and on what else runs there."""
    return any(slower(*each) for each in _speedups(candidate))


def _product(candidate):
    return np.prod([value for value, _ in _speedups(candidate)])


def test_auto_lists_what_it_chose_from(chosen):
    made, candidates = chosen
    names = [each["name"] for each in candidates]
    assert names[0] == "float"
    told = " ".join([*names, *made.notes])  # those that were slow here are in a note
    assert "weights stored in 8 bits, plain" in told
    assert "static QDQ, " in told
    assert "static QOperator, " in told
    [chosen] = [each for each in candidates if each["chosen"]]
    assert chosen["fits"]
    assert chosen["name"] in made.notes
    fitting = [each for each in candidates[1:] if each["fits"]]
    never_slower = [each for each in fitting if not _slow(each)]
    best = max(_product(each) for each in never_slower or fitting)
    assert _product(chosen) >= best / (1 + NOISE) ** len(chosen["speedup"])
    assert chosen["size_bytes"] < candidates[0]["size_bytes"]


def test_minmax_fails_where_one_channel_is_far_out(hard, apply):
    """Eight bits for a row of weights lose the others of the row too; half precision doesn't."""
    fields = {"improve": [], "calibration": {**SMALL, "method": "minmax"}}
    made, candidates = apply(fields, hard)
    [chosen] = [each for each in candidates if each["chosen"]]
    assert chosen["name"] == "weights stored in 16 bits, plain"
    assert any(note.startswith(f"chosen: {chosen['name']}, ") for note in made.notes)
    _, candidates = apply({**fields, "method": "static"}, hard)
    assert candidates[1]["loss"] > 0.05
    assert not candidates[1]["fits"]


def test_half_precision_is_tried_where_nothing_else_is_within_the_budget(
    problem, apply, monkeypatch
):
    """A twentieth of a matrix's root mean square is lost in 8 bits here, and nothing in 16."""
    monkeypatch.setattr(store, "_in_8_bits", _coarse)
    fields = {"improve": [], "calibration": {**SMALL, "method": "minmax"}}
    monkeypatch.setattr(candidates, "quantize_static", _refuse)
    _, tried = apply(fields, problem)
    assert [(each["name"], each["chosen"]) for each in tried] == [
        ("float", False),
        ("weights stored in 8 bits, plain", False),
        ("weights stored in 16 bits, plain", True),
    ]


def _coarse(values, axes):
    signs = np.sign(values).astype(np.int8)
    return signs, np.abs(values).max(axis=axes, keepdims=True)


def _refuse(*_, **__):
    raise StageError("no such form.")


def _round_in_few_steps(monkeypatch):
    """How well rounding does alone is tested where it lives."""
    monkeypatch.setattr(improve, "optimize_rounding", partial(optimize_rounding, steps=50))


@pytest.mark.slow
def test_auto_recovers_it(hard, apply, monkeypatch):
    _round_in_few_steps(monkeypatch)  # it is tried twice on the way to what is chosen
    made, candidates = apply({"calibration": {**SMALL, "method": "minmax"}}, hard)
    [chosen] = [each for each in candidates if each["chosen"]]
    assert chosen["fits"]
    assert "equalized" in chosen["name"]
    assert len(candidates) > 3
    assert any("equal" in note for note in made.notes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bias_correction", "adaround", "float_fallback", "equalize"])
def test_improvements_that_are_asked_for_are_made(hard, apply, monkeypatch, name):
    _round_in_few_steps(monkeypatch)
    fields = {
        "method": "static",
        "calibration": {**SMALL, "method": "minmax"},
        "improve": [name],
    }
    made, candidates = apply(fields, hard)
    assert len(candidates) > 2
    assert candidates[-1]["chosen"]
    words = {
        "bias_correction": "biases corrected",
        "adaround": "rounding optimized",
        "float_fallback": "in float",
        "equalize": "equalized",
    }
    assert words[name] in candidates[-1]["name"]
    # Biases alone can't bring back what is lost in the weights: both guess, with some luck.
    luck = 0.05 if name == "bias_correction" else 0
    assert candidates[-1]["loss"] <= candidates[1]["loss"] + luck
    costs = [note for note in made.notes if "stays in float" in note]
    assert len(costs) == (len(candidates) - 2 if name == "float_fallback" else 0)
    assert all(" dB; it costs " in note and "ms at batch 4" in note for note in costs)


def test_smoothing_needs_the_torch_model(problem, apply, tmp_path):
    folder = tmp_path / "exported"
    folder.mkdir()
    exported = Export().apply(problem[0], replace(problem[1], directory=folder))
    fields = {"method": "static", "improve": ["smoothquant"]}
    with pytest.raises(StageError, match="Put 'quantize' before 'export'"):
        apply(fields, problem, artifact=exported)


def test_an_improvement_that_cannot_be_made_is_left_out_with_a_note(problem, apply):
    """A group normalisation is no operator that rounding can be optimised through."""
    layers = (nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(8 * 36, 10))
    grouped = problem[0].with_module(nn.Sequential(*layers).eval())
    fields = {"method": "static", "improve": ["adaround"], "budget": 0.9}
    made, candidates = apply(fields, problem, artifact=grouped)
    assert len(candidates) == 2
    told = [note for note in made.notes if note.startswith("'adaround' of static QDQ, ")]
    assert len(told) == 1
    assert "can't be run as a torch module" in told[0]


def test_a_kind_that_cannot_be_made_is_left_out_with_a_note(problem, apply, monkeypatch, set_paces):
    set_paces()

    def refused(*_, quant_format, **__):
        if quant_format == "qoperator":
            raise StageError("no such form.")
        return quantize_static(*_, quant_format=quant_format, **__)

    quantize_static = candidates.quantize_static
    monkeypatch.setattr(candidates, "quantize_static", refused)
    made, tried = apply({"method": "auto", "improve": [], "budget": 0.99}, problem)
    assert {each["name"].split(",")[0] for each in tried[2:]} == {"static QDQ"}
    assert any("static-qoperator, " in x and "no such form" in x for x in made.notes)


@pytest.mark.slow
def test_quantization_aware_training_recovers_it(problem, apply):
    fields = {
        "method": "static",
        "per_channel": False,
        "target_cpu": "x86-avx2",  # its 7-bit weights are computed alike on every CPU
        "calibration": {**SMALL, "method": "minmax"},
        "recovery": {"training": {"epochs": 2, "batch_size": 64, "learning_rate": 1e-3}},
    }
    made, candidates = apply(fields, _hardened(problem, 30))
    before, after = candidates[1:]
    assert after["chosen"]
    assert after["name"].endswith("trained")
    assert before["loss"] > 0.05
    assert after["loss"] < before["loss"] / 2
    assert "QuantizeLinear" in _kinds(made)
    assert any("kept epoch" in note for note in made.notes)


def test_a_file_for_another_cpu_says_so(problem, apply):
    made, _ = apply({"method": "static", "target_cpu": "x86-avx2"}, problem)
    assert _metadata(made)["target_cpu"] == "x86-avx2"
    assert any("would saturate" in note for note in made.notes)
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(made.require_onnx()).graph.initializer
        if tensor.name.endswith(".weight_quantized")
    ]
    assert weights
    assert max(np.abs(array.astype(int)).max() for array in weights) <= 64


def test_weights_alone(problem, apply):
    """Of a CNN only its last product has such weights."""
    made, candidates = apply({"method": "weight_only", "bits": 8}, problem)
    assert "MatMulNBits" in _kinds(made)
    assert candidates[1]["name"] == "8-bit weights, plain"


def test_int8_that_is_slower_and_larger_is_left_to_those_who_ask_for_it(
    problem, apply, tmp_path, monkeypatch
):
    """Such small models run for microseconds, so that here their speed isn't left to chance."""
    monkeypatch.setattr(Evaluation, "slower_at", property(_slower))

    class Tiny(nn.Module):
        """Ten products of one weight: what INT8 adds to the graph is more than it saves."""

        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleList(nn.Linear(1, 1) for _ in range(10))

        def forward(self, pixel_values):
            value = pixel_values.mean((1, 2, 3)).unsqueeze(1)
            return torch.cat([head(torch.relu(value)) for head in self.heads], 1)[:, :10]

    tiny = exported_once(problem[0].with_module(Tiny().eval()), problem[1], tmp_path)
    for method in ("static", "dynamic"):
        made, _ = apply({"method": method, "budget": 0.9}, problem, artifact=tiny)
        assert any(note.startswith("SLOWER than the float model: ") for note in made.notes)
        assert any(note.startswith("no smaller: ") for note in made.notes)
    made, tried = apply({"budget": 0.9}, problem, artifact=tiny)
    assert [each["name"] for each in tried if each["chosen"]] == ["float"]
    assert "chosen: the float model as it is" in made.notes[-1]
    assert "Cast" not in _kinds(made)
    assert "DequantizeLinear" not in _kinds(made)


class Experts(nn.Module):
    """A matrix for each of four experts, which all see every sample; their answers are averaged."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.randn(4, 64, 96) / 8)
        self.second = nn.Parameter(torch.randn(4, 96, 10) / 10)

    def forward(self, pixel_values):
        rows = pixel_values.flatten(1).expand(4, -1, -1)
        return (torch.relu(rows @ self.first) @ self.second).mean(0)


@pytest.mark.parametrize("method", ["auto", "storage", "dynamic"])
def test_a_matrix_for_each_expert_costs_no_run(problem, apply, tmp_path, method):
    """No 8-bit operator takes such weights per channel; stored, they are a quarter as large."""
    torch.manual_seed(0)
    experts = exported_once(problem[0].with_module(Experts().eval()), problem[1], tmp_path)
    if method == "dynamic":
        with pytest.raises(StageError, match=r"nothing to quantize: .* output channels"):
            apply({"method": method}, problem, artifact=experts)
        return
    made, tried = apply({"method": method, "budget": 0.9}, problem, artifact=experts)
    assert [each["name"] for each in tried if each["chosen"]] == ["weights stored in 8 bits, plain"]
    whole = tried[0]["size_bytes"]
    assert made.require_onnx().stat().st_size < 0.3 * whole


def _slower(evaluation):
    return {} if evaluation.name == "float" else {"1": 0.5}


def test_the_named_methods_give_the_same_bytes(problem, apply):
    fields = {"method": "static", "calibration": {**SMALL, "method": "mse"}}
    first, second = (apply(fields, problem)[0].require_onnx() for _ in range(2))
    assert first.read_bytes() == second.read_bytes()


def test_unused_calibration_is_warned_of():
    stage = Quantize(method="dynamic", calibration=SMALL)
    assert stage.warnings(task="image-classification", model=None, data=None) == [
        "'calibration' isn't used by method dynamic"
    ]
    assert Quantize().warnings(task="image-classification", model=None, data=None) == []


def test_an_unknown_variant_of_the_graph_is_refused(problem, apply):
    with pytest.raises(StageError, match=r"has the variants plain\. Got 'attention'"):
        apply({"graph": "attention", "method": "static"}, problem)


def test_answers_stay_those_of_the_float_model(problem, chosen):
    made, _ = chosen
    assert made.format is Format.ONNX_INT8
    [batch] = problem[1].data.loader("test", made.require_preprocessor(), batch_size=1000)
    got = run(session(made.require_onnx(), threads=1), batch)["logits"].argmax(-1)
    with torch.no_grad():
        wanted = problem[0].require_module()(batch["pixel_values"]).argmax(-1).numpy()
    assert (got == wanted).mean() > 0.97
