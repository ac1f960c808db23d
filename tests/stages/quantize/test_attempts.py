"""What fails in the making or trying of a candidate costs that candidate, never the run."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from compress.errors import StageError, TargetError
from compress.quantization.evaluation import Evaluator
from compress.stages.quantize import candidates, improve
from compress.stages.quantize import run as running
from compress.stages.quantize.stage import Quantize

QUICK = {"samples": 64, "rounds": 5, "seconds": 0.01, "batch_sizes": [1, 4]}
FIELDS = {
    "evaluation": QUICK,
    "calibration": {"samples": 16, "method": "minmax"},
    "budget": 0.99,
    "improve": [],
    "target_cpu": "x86-vnni",
}


@pytest.fixture
def apply(untrained, tmp_path):
    def applied(**fields):
        stage = Quantize.model_validate(FIELDS | fields)
        made = stage.apply(untrained[0], replace(untrained[1], directory=tmp_path))
        document = json.loads((tmp_path / "candidates.json").read_text(encoding="utf-8"))
        return made, [each["name"].split(",")[0] for each in document["candidates"]]

    return applied


def _break(path):
    """Let a file fail when it runs."""
    model = onnx.load(path)
    last = model.graph.node[-1]
    wanted, last.output[0] = last.output[0], "whole"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([7, -1]), "sevens"))
    model.graph.node.append(
        onnx.helper.make_node("Reshape", ["whole", "sevens"], [wanted], name="bad")
    )
    onnx.save(model, path)


def _failing(monkeypatch, form, fail):
    """Let static quantization of a form fail after its file is written."""
    quantize_static = candidates.quantize_static

    def quantize(*given, path, quant_format, **named):
        quantize_static(*given, path=path, quant_format=quant_format, **named)
        if quant_format == form:
            fail(path)

    monkeypatch.setattr(candidates, "quantize_static", quantize)


def _raise(error):
    def fail(path):
        raise error

    return fail


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        (_raise(KeyError("h")), "its graph can't be made or run: KeyError: 'h'"),
        (_raise(ValueError("could not be broadcast")), "ValueError: could not be broadcast"),
        (_raise(StageError("no such form.")), "is left out: no such form."),
        (_break, "ONNX Runtime failed on the inputs pixel_values float32 (1, 1, 8, 8), at node "),
    ],
)
def test_auto_leaves_a_kind_out_with_a_note(apply, monkeypatch, set_paces, fail, said):
    set_paces()
    _failing(monkeypatch, "qdq", fail)
    made, tried = apply(method="auto")
    assert tried == ["float", "weights stored in 8 bits", "dynamic", "static scales"]
    [note] = [note for note in made.notes if note.startswith("static, U8S8, is left")]
    assert said in note


@pytest.mark.parametrize(
    ("fail", "said"),
    [
        (_raise(KeyError("h")), r"^its graph can't be made or run: KeyError: 'h'$"),
        (_break, r"at node 'bad' \(Reshape\): .*The input tensor cannot be reshaped"),
    ],
)
def test_a_method_that_is_asked_for_is_refused_in_one_sentence(apply, monkeypatch, fail, said):
    _failing(monkeypatch, "qdq", fail)
    with pytest.raises(StageError, match=said) as caught:
        apply(method="static")
    assert "\n" not in str(caught.value)


def test_a_calibration_method_that_fails_is_left_out(apply, monkeypatch):
    whole = candidates.CandidateBuilder.ranges

    def ranges(self, spec):
        if spec.calibration == "entropy":
            raise IndexError("bins")
        return whole(self, spec)

    monkeypatch.setattr(candidates.CandidateBuilder, "ranges", ranges)
    made, tried = apply(method="static", calibration={"samples": 16})
    assert tried == ["float", "static QDQ"]
    told = [note for note in made.notes if "is left out" in note]
    assert told == [
        "static QDQ, U8S8, entropy, plain is left out: its graph can't be made or run: "
        "IndexError: bins"
    ]


@pytest.fixture
def broken_equalization(monkeypatch):
    equalize = improve.equalize

    def broken(source, *, path, batches):
        notes = equalize(source, path=path, batches=batches)
        _break(path)
        return notes

    monkeypatch.setattr(improve, "equalize", broken)


def test_an_improvement_whose_file_does_not_run_is_left_out(apply, broken_equalization):
    made, tried = apply(method="static", improve=["equalize"])
    assert tried == ["float", "static QDQ"]
    assert any("equalized is left out: " in note and "'bad'" in note for note in made.notes)


def test_auto_goes_on_after_such_an_improvement(apply, broken_equalization, monkeypatch):
    """Nothing fits in the end, which is what the run is told."""
    monkeypatch.setattr(Evaluator, "fits", lambda self, path: path == self.source)
    with pytest.raises(TargetError, match="no INT8 candidate keeps within"):
        apply(method="auto", improve=["equalize"])


def test_a_variant_of_the_graph_that_fails_is_left_out(apply, monkeypatch, set_paces):
    set_paces()

    def fails(name, *_, **__):
        raise ValueError(f"{name} of what?")

    monkeypatch.setattr(running, "graph_variant", fails)
    made, tried = apply(method="auto")
    assert "static QDQ" in tried
    told = [note for note in made.notes if note.startswith("the graph ")]
    assert told == [
        f"the graph '{name}' is left out: its graph can't be made or run: ValueError: {name} of "
        "what?"
        for name in ("lean", "attention")
    ]
