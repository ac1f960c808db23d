"""The quantize stage by NNCF, and with OpenVINO as the runtime that decides."""

import json
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.data.spec import DataSpec
from compress.measurement.runtimes import names
from compress.models.source import PythonSource
from compress.models.spec import ModelSpec
from compress.onnx_graph.graph import Graph
from compress.quantization.options import Calibration, EvaluationOptions
from compress.runner.keys import next_key
from compress.stages.quantize import kinds as module
from compress.stages.quantize.kinds import kinds
from compress.stages.quantize.stage import Quantize
from compress.tasks.task import task as find_task
from tests.extras import needs_openvino
from tests.stages.digits import digits, exported_once, preprocessor

QUICK = EvaluationOptions(samples=100, rounds=5, seconds=0.01)
MODEL = ModelSpec(python="compress.models.resnet:resnet")
DATA = DataSpec(sklearn="digits")
IMAGES = find_task("image-classification")


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"method": "nncf"}, "method"),
        ({"target_runtime": "openvino"}, "target_runtime"),
        ({"method": "nncf", "target_runtime": "openvino"}, "method"),
    ],
)
def test_what_isnt_installed_is_said_by_the_check(fields, key, monkeypatch):
    monkeypatch.setattr(names, "find_spec", lambda name: None)
    problems = Quantize(**fields).check(task="image-classification", model=MODEL, data=DATA)
    assert problems == [(key, "needs openvino and nncf: pip install 'compress[openvino]'.")]
    assert Quantize().check(task="image-classification", model=MODEL, data=DATA) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"accuracy_control": True}, "'accuracy_control' is NNCF's"),
        ({"method": "static", "accuracy_control": True, "target_runtime": "openvino"}, "NNCF's"),
        ({"method": "nncf", "operators": ("Conv",)}, "'operators' isn't for method nncf"),
        ({"method": "nncf", "improve": ("adaround",)}, "Use 'accuracy_control'"),
    ],
)
def test_options_that_dont_go_together_are_refused(fields, message):
    with pytest.raises(ValidationError, match=message):
        Quantize(**fields)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nncf_is_a_candidate_where_openvino_is_the_target(share, monkeypatch):
    monkeypatch.setattr(module, "convolution_share", lambda graph: share)
    graph = Graph.__new__(Graph)
    here = kinds(Quantize(), graph, task=IMAGES, cpu="x86-avx2")
    there = kinds(Quantize(target_runtime="openvino"), graph, task=IMAGES, cpu="x86-avx2")
    assert "nncf" not in [kind for kind, _ in here]
    [(_, integers)] = [each for each in there if each[0] == "nncf"]
    assert integers.reduce_range
    assert there[0][0] == "storage-8"
    assert not {"static_scales", "static-qoperator"} & {kind for kind, _ in there}


@needs_openvino
def test_another_version_of_nncf_does_the_stage_again(monkeypatch):
    stage = Quantize(method="nncf")
    before, other = next_key("", stage), next_key("", Quantize(method="static"))
    monkeypatch.setattr("compress.runner.keys.version", lambda name: "0")
    assert next_key("", stage) != before
    assert next_key("", Quantize(method="static")) == other


@needs_openvino
def test_openvino_decides_where_it_is_the_target(tmp_path):
    torch.manual_seed(0)
    source = PythonSource("tests.runner.nets:convolution")
    artifact = Artifact(
        Format.TORCH,
        source.build(),
        source,
        preprocessor=preprocessor(),
        labels=tuple("0123456789"),
    )
    context = Context(artifact, IMAGES, digits(), tmp_path)
    artifact = exported_once(artifact, context, tmp_path)
    stage = Quantize(
        target_runtime="openvino",
        calibration=Calibration(samples=16, method="minmax"),
        evaluation=QUICK,
        graph="plain",
        budget=0.5,
    )
    (tmp_path / "stage").mkdir()
    made = stage.apply(artifact, replace(context, directory=tmp_path / "stage"))
    assert any(note.startswith("timed and judged in OpenVINO 20") for note in made.notes)
    folder = made.require_onnx().parent
    candidates = json.loads((folder / "candidates.json").read_text())["candidates"]
    tried = [each["name"] for each in candidates]
    dropped = " ".join(note for note in made.notes if note.startswith("dropped"))
    assert any(name.startswith("NNCF, U8S8") for name in tried) or "NNCF" in dropped
    assert not any("is left out" in note for note in made.notes)
