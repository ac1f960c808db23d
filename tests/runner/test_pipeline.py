"""The whole road on real digits: rows, resumption, the same result from Python."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import compress
from compress.core.progress import Silent
from compress.errors import InputError, StageError, TargetError
from compress.exporting.verify.bundle import verify_bundle
from tests.runner.small_recipe import RECIPE

pytestmark = pytest.mark.slow

STAGES = ("00-original", "01-train", "02-distill", "03-prune", "04-quantize", "05-export")


class Lines(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    @property
    def reused(self) -> set[str]:
        return {line.split(":")[0] for line in self.lines if "taken from disk" in line}


def weights(run: Path) -> dict[str, str]:
    files = [*run.glob("stages/*/checkpoint.safetensors"), run / "model.onnx"]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def test_every_stage_has_a_row_and_finished_stages_are_not_redone(
    recipe_path: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    report = compress.run(recipe_path, output=run, threads=1)
    assert [row.use for row in report.stages] == [
        None, "train", "distill", "prune", "quantize", "export",
    ]  # fmt: skip
    assert report.status == "passed"
    assert report.reference == 1
    original, train, distill, prune, quantize, export = report.stages
    # Equal tensors, such as the zero biases of an untrained model, are one in the file.
    assert train.params == pytest.approx(original.params, rel=0.02)
    assert train.quality.value > original.quality.value
    assert distill.macs == train.macs
    assert prune.macs == pytest.approx(0.6 * distill.macs, rel=0.05)
    assert prune.params < distill.params
    assert quantize.params == prune.params
    assert quantize.size_bytes < prune.size_bytes
    assert export.quality.value == quantize.quality.value
    assert export.delta.params == pytest.approx(export.params / train.params - 1)
    assert set(export.latency_ms) == {"1", "4"}
    assert json.loads((run / "report.json").read_text())["status"] == "passed"
    page = (run / "report.html").read_text()
    assert "validation accuracy" in page
    assert "Not drawn" not in page
    for stage in STAGES[:-1]:
        assert (run / "stages" / stage / "model.onnx").is_file()
    assert (run / "stages" / STAGES[-1] / "bundle" / "model.onnx").is_file()
    manifest = json.loads((run / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((run / name).read_bytes()).hexdigest() == entry["sha256"]
    assert {check.status for check in verify_bundle(run)} == {"ok"}

    before = weights(run)
    lines = Lines()
    again = compress.run(recipe_path, output=run, threads=1, progress=lines)
    assert lines.reused == set(STAGES)
    assert again.stages == report.stages
    assert weights(run) == before

    lines = Lines()
    compress.run(
        recipe_path,
        overrides=["stages.prune.target.macs=0.5"],
        output=run,
        threads=1,
        progress=lines,
    )
    assert lines.reused == set(STAGES[:3])
    assert (
        weights(run)["stages/02-distill/checkpoint.safetensors"]
        == (before["stages/02-distill/checkpoint.safetensors"])
    )

    lines = Lines()
    overrides = ["stages.prune.target.macs=0.5", "stages.export.samples=32"]
    compress.run(recipe_path, overrides=overrides, output=run, threads=1, progress=lines)
    assert lines.reused == set(STAGES[:5])

    lines = Lines()
    overrides = [*overrides, "measure.samples=50"]
    measured = compress.run(recipe_path, overrides=overrides, output=run, threads=1, progress=lines)
    assert lines.reused == set(STAGES), "what is measured doesn't decide what is computed"
    assert {row.quality.samples for row in measured.stages} == {50}

    lines = Lines()
    compress.run(recipe_path, output=run, threads=1, fresh=True, progress=lines)
    assert lines.reused == set()
    assert weights(run) == before, "the same recipe gives the same bytes"


def test_the_command_and_python_give_the_same_bytes(recipe_path: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "compress", str(recipe_path), "--threads", "1", "-q"]
    subprocess.run([*command, "--output", str(tmp_path / "a")], check=True, capture_output=True)

    from compress import Distill, Export, Pipeline, Prune, Quantize, Train

    resnet = "compress.models.resnet:resnet"
    arguments = {"blocks": [1, 1], "width": 16, "in_channels": 1, "num_classes": 10}
    training = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3}
    pipeline = Pipeline(
        [
            Train.model_validate({"training": {**training, "epochs": 2}}),
            Distill.model_validate(
                {
                    "student": {"python": resnet, "arguments": arguments},
                    "losses": {
                        "response": {"temperature": 4.0, "weight": 0.7},
                        "labels": {"weight": 0.3},
                    },
                    "training": training,
                }
            ),
            Prune.model_validate(
                {
                    "target": {"macs": 0.6},
                    "recovery": {"training": {**training, "learning_rate": 1e-3}},
                }
            ),
            Quantize.model_validate(
                {
                    "method": "static",
                    "calibration": {"samples": 32, "method": "minmax"},
                    "evaluation": {"samples": 100, "rounds": 5, "seconds": 0.01},
                }
            ),
            Export(),
        ],
        name="small",
        model={"python": resnet, "arguments": arguments},
        task="image-classification",
        data={"sklearn": "digits", "limit": {"train": 600}, "calibration_samples": 32},
        measure={"batch_sizes": [1, 4], "rounds": 5, "warmup": 1, "seconds": 0.01, "samples": 100},
        seed=3,
    )
    pipeline.run(output=tmp_path / "b", threads=1)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.yaml").write_text(RECIPE, encoding="utf-8")
    compress.run(folder / "small.yaml", output=folder / "run", threads=1)
    return folder / "run"


@pytest.mark.parametrize(
    ("sent", "code", "status"),
    [(signal.SIGKILL, -signal.SIGKILL, "running"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_broken_run_redoes_only_the_stage_it_was_broken_in(
    recipe_path: Path, tmp_path: Path, whole: Path, sent: signal.Signals, code: int, status: str
) -> None:
    broken = tmp_path / "broken"
    command = [sys.executable, "-m", "compress", str(recipe_path), "--threads", "1", "-q"]
    process = subprocess.Popen(
        [*command, "--output", str(broken)], stderr=subprocess.PIPE, text=True
    )
    third = broken / ".compress" / "building" / "03-prune"
    end = time.monotonic() + 120
    while not third.exists():
        assert process.poll() is None, "the run ended before it could be broken"
        assert time.monotonic() < end
        time.sleep(0.005)
    process.send_signal(sent)
    _, said = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in said
    assert not (broken / "stages" / "03-prune").exists()
    report = json.loads((broken / "report.json").read_text())
    assert report["status"] == status
    assert len(report["stages"]) == 3

    lines = Lines()
    compress.run(recipe_path, output=broken, threads=1, progress=lines)
    assert lines.reused == set(STAGES[:3])
    assert weights(broken) == weights(whole)


def test_a_failed_stage_keeps_the_rows_before_it(recipe_path: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    overrides = ["stages.prune.recovery.training.precision=fp16"]
    with pytest.raises(StageError, match="fp16"):
        compress.run(recipe_path, overrides=overrides, output=run, threads=1)
    report = json.loads((run / "report.json").read_text())
    assert report["status"] == "failed"
    assert [row["name"] for row in report["stages"]] == ["original", "train", "distill"]
    assert not list((run / "stages").glob("03-prune"))


def test_a_gate_that_fails_keeps_everything(recipe_path: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = compress.run(recipe_path, overrides=["gates.size_ratio=1000"], output=run, threads=1)
    assert report.status == "gate_failed"
    assert [(gate.name, gate.passed) for gate in report.gates] == [("size_ratio", False)]
    assert (run / "model.onnx").is_file()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.arguments={blocks: [1, 1], width: 8, num_classes: 7}"], "labels"),
        (["model.arguments={blocks: [1, 1], width: 8, in_channels: 3}"], "can't take"),
    ],
)
def test_model_and_data_that_do_not_fit_leave_nothing_behind(
    recipe_path: Path, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        compress.run(recipe_path, overrides=overrides, output=tmp_path / "run", threads=1)
    assert not (tmp_path / "run").exists()


def test_an_impossible_target_is_told_before_any_training(
    recipe_path: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(TargetError, match=r"'prune', seen before any training: target macs: 0.001"):
        compress.run(
            recipe_path, output=run, threads=1, overrides=["stages.prune.target.macs=1e-3"]
        )
    assert [path.name for path in (run / "stages").glob("[0-9]*")] == ["00-original"]
