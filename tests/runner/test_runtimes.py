"""A run whose rows are timed in OpenVINO too."""

import json
import shutil
from typing import Any

import onnx
import pytest

import compress
from compress.exporting.verify.bundle import verify_bundle
from compress.recipe.load import recipe_from_dict
from compress.report.document import read_report
from tests import given_files
from tests.extras import needs_openvino

pytestmark = needs_openvino
TRIALS = {"samples": 60, "rounds": 5, "seconds": 0.01, "batch_sizes": [1, 4]}


def values(path, *stages: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": 1,
        "name": "given",
        "model": {"onnx": str(path)},
        "task": "image-classification",
        "data": {"sklearn": "digits", "limit": {"train": 200}, "calibration_samples": 16},
        "measure": {
            "batch_sizes": [1, 4],
            "rounds": 5,
            "warmup": 1,
            "seconds": 0.01,
            "samples": 60,
            "runtimes": ["onnxruntime", "openvino"],
        },
        "stages": list(stages),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("runtimes")
    model = folder / "model.onnx"
    onnx.save(given_files.digits(), model)
    quantize = {
        "use": "quantize",
        "method": "static",
        "calibration": {"samples": 16, "method": "minmax"},
        "evaluation": TRIALS,
    }
    recipe = recipe_from_dict(values(model, quantize, {"use": "export", "openvino": True}))
    return folder / "run", compress.run(recipe, output=folder / "run", threads=1)


def test_each_row_is_timed_in_both_and_held_against_both_originals(run):
    folder, report = run
    first, last, _ = (row.runtimes["openvino"] for row in report.stages)
    for size in ("1", "4"):
        assert first.latency_ms[size].p50 > 0
        assert first.speedup[size].vs_original == 1
        assert first.speedup[size].ci95 is None
        assert first.speedup_vs_onnxruntime[size].ci95 is not None
        assert last.speedup[size].ci95 is not None
        assert last.speedup_vs_onnxruntime[size].vs_original != last.speedup[size].vs_original
    assert read_report(folder).stages == report.stages


def test_the_answers_of_both_are_compared_in_a_note(run):
    _, report = run
    for row in report.stages:
        # The last file is the one before it, and its own form is compared instead.
        words = "in OpenVINO beside" if row.use == "export" else "OpenVINO's answers beside"
        assert any(words in note for note in row.notes)
        assert row.runtimes["openvino"].agreement >= 0.95
        assert row.runtimes["openvino"].max_difference < 1
    assert "In OpenVINO" in (run[0] / "report.md").read_text(encoding="utf-8")


def test_the_bundle_holds_openvinos_own_form_and_verifies_it(run, tmp_path):
    folder, _ = run
    listed = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert {"openvino_model.xml", "openvino_model.bin"} <= set(listed)
    checks = list(verify_bundle(folder))
    [found] = [check for check in checks if check.name == "OpenVINO"]
    assert found.status == "ok"
    assert found.text.startswith("openvino_model.xml: 8 stored samples: answers differ by")
    assert not any("not in the manifest" in check.text for check in checks)


def test_a_form_with_other_weights_is_found(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "changed")
    weights = folder / "openvino_model.bin"
    weights.write_bytes(bytes(255 - byte for byte in weights.read_bytes()))
    failed = {check.name for check in verify_bundle(folder) if check.status == "failed"}
    assert {"files", "OpenVINO"} <= failed


def test_a_form_that_cant_be_run_here_is_a_warning(run, monkeypatch):
    monkeypatch.setattr("compress.measurement.runtimes.names.find_spec", lambda name: None)
    [found] = [check for check in verify_bundle(run[0]) if check.name == "OpenVINO"]
    assert (found.status, "isn't installed" in found.text) == ("warning", True)
