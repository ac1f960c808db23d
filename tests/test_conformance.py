"""Every stage that ships keeps the contract, and so does a third party's, once installed."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compress.cli import main
from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.core.foreign.entries import import_entry
from compress.models.source import TransformersSource
from compress.stages.contract import Stage
from compress.stages.registry import stage_class
from compress.tasks.registry import find_task
from compress.testing import check_stage, check_task, digits_problem
from tests.launching import forked
from tests.tasks.arrays import pairs

TRAINING = {"epochs": 1, "batch_size": 64, "learning_rate": 1e-3}
STAGES: dict[str, dict[str, Any]] = {
    "train": {"training": TRAINING},
    "distill": {
        "student": {
            "python": "compress.models.resnet:resnet",
            "arguments": {"blocks": [1, 1], "width": 4, "in_channels": 1, "num_classes": 10},
        },
        "training": TRAINING,
    },
    "prune": {"target": {"macs": 0.5}, "recovery": {"training": TRAINING}},
    "depth": {
        "layers": 1,
        "calibration": {"samples": 32, "batch_size": 16},
        "recovery": {"training": TRAINING},
    },
    "low_rank": {"target": {"macs": 0.6}, "recovery": {"training": TRAINING}},
    "sparsify": {"ratio": 0.5, "recovery": {"training": TRAINING}},
    "quantize": {
        "method": "static",
        "calibration": {"samples": 32},
        "evaluation": {"samples": 32, "rounds": 5, "seconds": 0.01, "batch_sizes": [1]},
    },
    "low_bit": {},
    "export": {},
}
LAYERED = {"depth", "low_bit"}
"""Stages that work on transformers models only, or on more than one linear layer."""
THIRD_PARTY = Path(__file__).parent / "thirdparty"


@pytest.fixture(scope="module")
def problem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Context]:
    return digits_problem(tmp_path_factory.mktemp("problem"))


@pytest.fixture(scope="module")
def layered(problem: tuple[Artifact, Context]) -> tuple[Artifact, Context]:
    """The same problem for a transformers model."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=10,
    )
    module = transformers.ViTForImageClassification(config).eval()
    artifact = problem[0].with_module(module, source=TransformersSource.of(module))
    return artifact, replace(problem[1], reference=artifact)


@pytest.mark.parametrize("name", STAGES)
def test_stage_keeps_the_contract(
    name: str,
    problem: tuple[Artifact, Context],
    layered: tuple[Artifact, Context],
    tmp_path: Path,
) -> None:
    artifact, context = layered if name in LAYERED else problem
    stage = stage_class(name).model_validate(STAGES[name])
    check_stage(stage, directory=tmp_path, artifact=artifact, context=context)


class Careless(Stage):
    """Breaks the contract: it changes the module that it was given."""

    accepts = {Format.TORCH: Format.TORCH}  # noqa: RUF012

    factor: float = 2.0
    """What weights are multiplied with."""

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        import torch

        with torch.no_grad():
            for parameter in artifact.require_module().parameters():
                parameter.mul_(self.factor)
        return artifact.with_module(artifact.require_module())


def test_a_stage_that_changes_its_input_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="changed the artifact"):
        check_stage(Careless(), directory=tmp_path)


RECIPE = """\
version: 1
name: rounded
model: {python: "net:linear"}
task: image-classification
data: {sklearn: digits, limit: {train: 200}}
measure: {batch_sizes: [1], rounds: 5, warmup: 1, seconds: 0.01}
stages:
  - use: round_weights
    bits: 6
"""
NET = """\
from torch import nn

def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""
TASK_RECIPE = """\
version: 1
name: boxes
model: {python: "pair:pair"}
task: {name: class-and-box, arguments: {box_weight: 0.5}}
data: {arrays: boxes.npz, columns: {targets: {kind: kind, box: box}}}
measure: {batch_sizes: [1], rounds: 5, warmup: 1, seconds: 0.01}
stages:
  - {use: train, training: {epochs: 3, batch_size: 32, learning_rate: 0.01}}
  - {use: export}
"""
PAIR = """\
import torch
from torch import nn

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 32), nn.ReLU())
        self.kind, self.box = nn.Linear(32, 3), nn.Linear(32, 4)

    def forward(self, table, extra):
        found = self.body(torch.cat([table, extra], 1))
        return {"kind": self.kind(found), "box": self.box(found)}

def pair():
    return Pair()
"""


def with_third_party(site: Path) -> None:
    """What somebody does who has installed the stage and the task in that folder."""
    sys.path.insert(0, str(site))
    for arguments in (
        ["schema"],
        ["check", "rounded.yaml"],
        ["rounded.yaml", "--threads", "1"],
        ["boxes.yaml", "--threads", "1"],
    ):
        print("###")
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
    print("###")
    check_stage(stage_class("round_weights")(bits=8), directory=Path("conformance"))
    with np.load("boxes.npz") as file:
        arrays = [file[name][:6] for name in ("table", "extra", "kind", "box")]
    names = ("table", "extra", "labels.kind", "labels.box")
    samples = [dict(zip(names, row, strict=True)) for row in zip(*arrays, strict=True)]
    module = import_entry("pair:pair")()
    check_task(find_task("class-and-box"), module, samples, directory=Path("conformance/task"))
    print("kept")


@pytest.mark.slow
def test_a_third_partys_stage_and_task_are_installed_found_run_and_checked(tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    source = tmp_path / "source"
    subprocess.run(["cp", "-r", THIRD_PARTY, source], check=True)
    subprocess.run(
        [*pip, "--no-build-isolation", "--target", site, source], check=True, capture_output=True
    )
    (tmp_path / "rounded.yaml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    (tmp_path / "boxes.yaml").write_text(TASK_RECIPE, encoding="utf-8")
    (tmp_path / "pair.py").write_text(PAIR, encoding="utf-8")
    made = pairs()
    kinds = np.unique(made["kind"], return_inverse=True)[1]
    np.savez(tmp_path / "boxes.npz", **{**made, "kind": kinds})

    stages = subprocess.run(
        [sys.executable, "-m", "compress", "stages"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert stages.returncode == 0, stages.stderr
    assert "round_weights" in stages.stdout
    with forked(with_third_party, site, folder=tmp_path) as running:
        done = running.wait()
    assert done.returncode == 0, done.stderr
    nothing, schema, check, table, boxes, contract = done.stdout.split("###\n")
    assert nothing == ""
    assert "round_weights" in schema
    assert "round_weights" in check
    assert "round_weights" in table
    report = (tmp_path / "exports/rounded/report.md").read_text(encoding="utf-8")
    assert "weights rounded to 6 bits" in report
    assert "class-and-box" in schema
    assert "found" in boxes
    assert '"sides": box' in (tmp_path / "exports/boxes/infer.py").read_text(encoding="utf-8")
    assert contract.strip() == "kept"
