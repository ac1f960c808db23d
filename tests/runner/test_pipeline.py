"""The whole road on real digits: rows, resumption, the same result from Python."""

import hashlib
import json
import shutil
import signal
import time
from pathlib import Path

import pytest

import compress
from compress.core.progress import Silent
from compress.errors import InputError, StageError, TargetError
from compress.exporting.verify.bundle import verify_bundle
from compress.report.document import Report
from tests.launching import Forked, command, forked

pytestmark = pytest.mark.slow

STAGES = ("00-original", "01-train", "02-distill", "03-prune", "04-quantize", "05-export")


class Lines(Silent):
    """Keeps what is said."""

    report: Report

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


def run(recipe_path: Path, folder: Path, *overrides: str, fresh: bool = False) -> Lines:
    """Run the recipe in a folder; the answer is what was said."""
    lines = Lines()
    lines.report = compress.run(
        recipe_path, overrides=overrides, output=folder, threads=1, fresh=fresh, progress=lines
    )
    return lines


@pytest.fixture(scope="module")
def made_in_python(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """An unbroken run of the small recipe as Python objects, and its report."""
    from compress import Distill, Export, Pipeline, Prune, Quantize, Train

    resnet = "compress.models.resnet:resnet"
    arguments = {"blocks": [1], "width": 16, "in_channels": 1, "num_classes": 10}
    training = {"epochs": 2, "batch_size": 32, "learning_rate": 2e-2}
    pipeline = Pipeline(
        [
            Train.model_validate({"training": {**training, "epochs": 4}}),
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
                    "target": {"macs": 0.57},
                    "recovery": {"training": {**training, "epochs": 1, "learning_rate": 1e-3}},
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
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, pipeline.run(output=str(folder), threads=1)


@pytest.fixture
def whole(made_in_python: tuple[Path, Report], tmp_path: Path) -> Path:
    """A copy of that run's folder."""
    return shutil.copytree(made_in_python[0], tmp_path / "whole", symlinks=True)


def test_every_stage_has_a_row(made_in_python: tuple[Path, Report]) -> None:
    folder, report = made_in_python
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
    assert prune.macs == pytest.approx(0.57 * distill.macs, rel=0.05)
    assert prune.params < distill.params
    assert quantize.params == prune.params
    assert quantize.size_bytes < prune.size_bytes
    assert export.quality.value == quantize.quality.value
    assert export.delta.params == pytest.approx(export.params / train.params - 1)
    assert set(export.latency_ms) == {"1", "4"}
    assert [row.vs_reference is None for row in report.stages] == [True, True] + [False] * 4
    assert [row.vs_previous is None for row in report.stages] == [True] + [False] * 5
    assert train.vs_previous.verdict == "better"
    assert export.vs_previous.agreement == 1
    assert export.vs_reference.change == pytest.approx(export.delta.quality)
    assert list(train.recall) == [str(digit) for digit in range(10)]
    assert 0 <= train.calibration_error <= 1
    assert json.loads((folder / "report.json").read_text())["status"] == "passed"
    page = (folder / "report.html").read_text()
    assert "validation accuracy" in page
    assert "Not drawn" not in page
    for stage in STAGES[:-1]:
        assert (folder / "stages" / stage / "model.onnx").is_file()
    assert (folder / "stages" / STAGES[-1] / "bundle" / "model.onnx").is_file()
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, entry in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == entry["sha256"]
    assert {check.status for check in verify_bundle(folder)} == {"ok"}


def test_finished_stages_are_not_redone(
    recipe_path: Path, whole: Path, made_in_python: tuple[Path, Report]
) -> None:
    before = weights(whole)
    again = run(recipe_path, whole)
    assert again.reused == set(STAGES)
    assert again.report.stages == made_in_python[1].stages
    assert weights(whole) == before

    overrides = ["stages.prune.target.macs=0.5"]
    assert run(recipe_path, whole, *overrides).reused == set(STAGES[:3])
    assert (
        weights(whole)["stages/02-distill/checkpoint.safetensors"]
        == (before["stages/02-distill/checkpoint.safetensors"])
    )

    overrides = [*overrides, "stages.export.samples=32"]
    assert run(recipe_path, whole, *overrides).reused == set(STAGES[:5])

    measured = run(recipe_path, whole, *overrides, "measure.samples=50")
    assert measured.reused == set(STAGES), "what is measured doesn't decide what is computed"
    assert {row.quality.samples for row in measured.report.stages} == {50}


def test_a_fresh_run_redoes_all(recipe_path: Path, whole: Path) -> None:
    before = weights(whole)
    assert run(recipe_path, whole, fresh=True).reused == set()
    assert weights(whole) == before, "the same recipe gives the same bytes"


def test_a_gate_that_fails_keeps_everything(recipe_path: Path, whole: Path) -> None:
    (whole / "model.onnx").unlink()
    report = run(recipe_path, whole, "gates.size_ratio=1000").report
    assert report.status == "gate_failed"
    assert [(gate.name, gate.passed) for gate in report.gates] == [("size_ratio", False)]
    assert (whole / "model.onnx").is_file()


def broken_by(process: Forked, folder: Path, sent: signal.Signals) -> None:
    """End a run by a signal in its third stage."""
    third = folder / ".compress" / "building" / "03-prune"
    end = time.monotonic() + 120
    for there in (False, True):  # an earlier broken run's goes first
        while third.exists() is not there:
            assert process.poll() is None, "the run ended before it could be broken"
            assert time.monotonic() < end
            time.sleep(0.005)
    process.send_signal(sent)


def assert_broken(folder: Path, said: str, status: str) -> None:
    assert "Traceback" not in said
    assert not (folder / "stages" / "03-prune").exists()
    report = json.loads((folder / "report.json").read_text())
    assert report["status"] == status
    assert len(report["stages"]) == 3


def test_a_broken_command_redoes_only_the_stage_it_was_broken_in(
    recipe_path: Path, tmp_path: Path, whole: Path, made_in_python: tuple[Path, Report]
) -> None:
    """Broken twice and then let run, the command gives the bytes of the run made in Python."""
    for stage in STAGES[2:]:
        shutil.rmtree(whole / "stages" / stage)
    (whole / "model.onnx").unlink()
    words = [str(recipe_path), "--threads", "1", "--output", str(whole)]
    with forked(command, [*words, "-q"], folder=tmp_path) as interrupted:
        broken_by(interrupted, whole, signal.SIGINT)
        ended = interrupted.wait()
    assert ended.returncode == 130
    assert_broken(whole, ended.stderr, "interrupted")

    with forked(command, [*words, "-q"], folder=tmp_path) as killed:
        broken_by(killed, whole, signal.SIGKILL)
        ended = killed.wait()
    assert ended.returncode == -signal.SIGKILL
    assert_broken(whole, ended.stderr, "running")

    with forked(command, words, folder=tmp_path) as unbroken:
        done = unbroken.wait()
    assert done.returncode == 0, done.stderr
    lines = Lines()
    lines.lines = done.stdout.splitlines()
    assert lines.reused == set(STAGES[:3])
    assert weights(whole) == weights(made_in_python[0])


def test_a_failed_stage_keeps_the_rows_before_it(recipe_path: Path, whole: Path) -> None:
    for stage in STAGES[3:]:
        shutil.rmtree(whole / "stages" / stage)
    with pytest.raises(StageError, match="fp16"):
        run(recipe_path, whole, "stages.prune.recovery.training.precision=fp16")
    report = json.loads((whole / "report.json").read_text())
    assert report["status"] == "failed"
    assert [row["name"] for row in report["stages"]] == ["original", "train", "distill"]
    assert not list((whole / "stages").glob("03-prune"))


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


def test_an_impossible_target_is_told_before_any_training(recipe_path: Path, whole: Path) -> None:
    for stage in STAGES[1:]:
        shutil.rmtree(whole / "stages" / stage)
    with pytest.raises(TargetError, match=r"'prune', seen before any training: target macs: 0.001"):
        run(recipe_path, whole, "stages.prune.target.macs=1e-3")
    assert [path.name for path in (whole / "stages").glob("[0-9]*")] == ["00-original"]
