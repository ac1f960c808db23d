"""A run of two launched processes: the first does everything, the other helps with training."""

import json
import os
import re
import runpy
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import compress
import compress.__main__ as compress_main
from compress.cli import main
from compress.errors import InputError
from compress.recipe.load import load_recipe
from compress.runner.execution import Settings
from compress.runner.follower import Follower
from compress.runner.inputs import load_inputs
from compress.runner.leader import Leader
from compress.training.distributed.processes import Processes
from tests.launching import ENVIRONMENT, Ended, forked, launch_two

RECIPE = """\
version: 1
name: launched
seed: 3
model: {python: "tests.runner.nets:convolution"}
task: image-classification
data: {sklearn: digits, calibration_samples: 32}
measure: {batch_sizes: [1], threads: 1, rounds: 5, warmup: 1, seconds: 0.01}
stages:
  - use: train
    training: {epochs: 4, batch_size: 32, learning_rate: 2.0e-2}
  - use: prune
    target: {macs: 0.5}
    recovery: {training: {epochs: 1, batch_size: 32, learning_rate: 5.0e-3}}
  - use: export
"""
DDP = """\
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_GPU
main_process_port: 0
mixed_precision: 'no'
num_machines: 1
machine_rank: 0
num_processes: 2
use_cpu: true
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "launched.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def words(recipe: Path, output: Path, *options: str) -> list[str]:
    given = ["--threads", "1", "--device", "cpu", "--output", str(output), *options]
    return [str(recipe), *given]


def launch(recipe: Path, output: Path, *options: str) -> Ended:
    """The first process's end, of two; the second says nothing."""
    first, second = launch_two(main, words(recipe, output, *options), folder=recipe.parent)
    assert second.returncode == (-signal.SIGTERM if first.returncode else 0)
    assert "error: " not in second.stderr
    assert second.stdout == ""
    return first


def launcher(module: str, arguments: list[str]) -> None:
    """Run a launcher's module as the main one, with these words."""
    os.environ.update(ENVIRONMENT)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def launch_by(module: str, arguments: list[str], folder: Path) -> Ended:
    """The end of what a launcher starts."""
    with forked(launcher, module, arguments, folder=folder) as launched:
        return launched.wait()


def quality(output: Path) -> list[float]:
    report = json.loads((output / "report.json").read_text())
    return [row["quality"]["value"] for row in report["stages"]]


@pytest.mark.slow
def test_two_processes_reach_what_one_reaches(recipe: Path, tmp_path: Path) -> None:
    training = recipe.with_name("training.yaml")
    training.write_text(RECIPE.split("  - use: prune")[0], encoding="utf-8")
    (tmp_path / "ddp.yaml").write_text(DDP, encoding="utf-8")
    options = ["--config_file", str(tmp_path / "ddp.yaml"), "-m", "compress"]
    given = [*options, *words(training, tmp_path / "two")]
    done = launch_by("accelerate.commands.launch", given, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("01-train\n") == 1, "only the first process speaks"
    assert "process 1" not in done.stderr
    compress.run(training, output=tmp_path / "one", device="cpu", threads=1)
    assert quality(tmp_path / "two")[1] == pytest.approx(quality(tmp_path / "one")[1], abs=0.03)
    assert "trained by 2 processes" in (tmp_path / "two" / "report.md").read_text()

    more = launch(recipe, tmp_path / "two")
    assert more.returncode == 0, more.stderr
    assert more.stdout.count("taken from disk") == 2, "followers catch up with finished stages"
    assert len(re.findall("^bundle", more.stdout, re.MULTILINE)) == 1
    again = launch(recipe, tmp_path / "two")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("taken from disk") == 4

    keys = [
        json.loads((tmp_path / run / "stages/01-train/stage.json").read_text())["key"]
        for run in ("two", "one")
    ]
    assert keys[0] != keys[1], "how many there were is a part of the result's key"


@pytest.mark.slow
def test_both_go_on_from_the_model_before_a_stage_that_is_rolled_back(
    recipe: Path, tmp_path: Path
) -> None:
    gates = "gates: {limits: [{figure: params, at_most: 1, stage: prune, then: roll_back}]}\n"
    again = RECIPE.split("  - use: prune\n")[1].replace("macs: 0.5}", "macs: 0.7}\n    round_to: 1")
    recipe.write_text(
        RECIPE.replace("stages:\n", gates + "stages:\n").replace(
            "  - use: export\n", "  - use: prune\n    name: less\n" + again
        ),
        encoding="utf-8",
    )
    done = launch(recipe, tmp_path / "run", "--set", "stages.train.training.epochs=2")
    assert done.returncode == 0, done.stderr
    assert "the run goes on from 'train'" in done.stdout
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["status"] == "passed"
    _, train, prune, less, export = report["stages"]
    assert [row["left_aside"] for row in report["stages"]] == [False, False, True, False, False]
    assert prune["macs"] < less["macs"] < train["macs"], "cut from the model that 'train' made"
    assert export["params"] == less["params"]
    assert all("trained by 2 processes" in " ".join(row["notes"]) for row in (prune, less))

    resumed = launch(recipe, tmp_path / "run", "--set", "stages.train.training.epochs=2")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("taken from disk") == 5
    later = json.loads((tmp_path / "run" / "report.json").read_text())
    assert later["stages"] == report["stages"]


@pytest.mark.slow
def test_a_gate_that_stops_ends_both_with_exit_code_1(recipe: Path, tmp_path: Path) -> None:
    gates = "gates: {limits: [{figure: params, at_most: 1, stage: train}]}\n"
    recipe.write_text(RECIPE.replace("stages:\n", gates + "stages:\n"), encoding="utf-8")
    given = words(recipe, tmp_path / "run", "--set", "stages.train.training.epochs=1")
    first, second = launch_two(main, given, folder=tmp_path)
    assert first.returncode == 1, first.stderr
    # The launcher may end the second before it ends by itself.
    assert second.returncode in (1, -signal.SIGTERM)
    assert "error: " not in first.stderr + second.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["status"] == "gate_failed"
    assert [row["name"] for row in report["stages"]] == ["original", "train"]


def told_once(done: Ended) -> str:
    """The one error that a run that failed has told."""
    assert done.returncode != 0
    [told] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message", "status"),
    [
        (["--set", "stages.train.training.epochs=0"], "epochs", None),
        (["--set", "stages.prune.target.macs=0.0001"], "can't be met", "failed"),
        (["--set", "stages.train.training.precision=fp16"], "fp16 needs a GPU", "failed"),
    ],
)
def test_a_failure_ends_both_processes_and_is_told_once(
    recipe: Path, tmp_path: Path, options: list[str], message: str, status: str | None
) -> None:
    assert message in told_once(launch(recipe, tmp_path / "run", *options))
    if status is None:
        assert not (tmp_path / "run").exists()
    else:
        assert json.loads((tmp_path / "run" / "report.json").read_text())["status"] == status


@pytest.mark.slow
def test_a_failure_ends_what_was_launched_and_is_told_once(recipe: Path, tmp_path: Path) -> None:
    other = ["--set", "model.arguments={num_classes: 7}"]
    options = ["--standalone", "--nproc_per_node", "2", "--start_method", "fork"]
    given = ["--run_path", compress_main.__file__, *words(recipe, tmp_path / "run", *other)]
    done = launch_by("torch.distributed.run", [*options, *given], tmp_path)
    assert "labels" in told_once(done)
    assert not (tmp_path / "run").exists()


def broken_in_the_second(arguments: list[str]) -> None:
    """The command; its second process fails at its training, and says so without waiting."""
    if os.environ["RANK"] == "1":
        from compress.cli import command
        from compress.training import loop

        def broken(*_: object, **__: object) -> None:
            raise OSError("no room")

        loop.acceleration = broken  # type: ignore[attr-defined]
        command._UNTIL_ENDED = 0
    main(arguments)


@pytest.mark.slow
def test_a_failure_in_another_process_ends_both(recipe: Path, tmp_path: Path) -> None:
    given = words(recipe, tmp_path / "run")
    first, second = launch_two(broken_in_the_second, given, folder=tmp_path)
    assert first.returncode != 0
    assert second.returncode != 0
    assert "error: " in first.stderr + second.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    # The first may be ended before it learns why.
    assert report["status"] in ("failed", "interrupted", "running")


def test_a_folder_that_others_cannot_see_is_told(recipe: Path, tmp_path: Path) -> None:
    loaded = load_recipe(recipe)
    settings = Settings("cpu", 1, None, Leader(Processes()))
    follower = Follower(loaded, settings)
    inputs = load_inputs(loaded)
    with pytest.raises(InputError, match="All machines must see the run's folder"):
        follower._load((({}, tmp_path / "elsewhere"),), inputs)


def test_a_lone_process_needs_no_orders(recipe: Path) -> None:
    leader = Leader(Processes())
    with leader.leading():
        leader.begin()
    assert replace(leader.processes, count=2).first
