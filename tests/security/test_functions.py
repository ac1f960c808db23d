"""Functions that a recipe names: who calls them, and what becomes of what they do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import compress
from compress.cli import main
from compress.core.progress import Silent
from compress.errors import ModelError, RecipeError
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.source import PythonSource
from compress.recipe.load import load_recipe

RECIPE = """\
version: 1
name: small
model:
  python: net:make
task: image-classification
data:
  python: images:load
  calibration_samples: 4
measure: {batch_sizes: [1], threads: 1, rounds: 5, warmup: 1, seconds: 0.01, samples: 8}
stages:
  - use: train
    training: {epochs: 1, batch_size: 8}
  - use: export
"""
NET = """\
import torch
from part import activation

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)
        self.calls = 0

    def forward(self, pixel_values):
        return self.linear(activation(pixel_values.flatten(1)))

def make():
    return Net()
"""
IMAGES = """\
import numpy as np

def load():
    draw = np.random.default_rng(0)
    images = draw.integers(0, 255, (16, 2, 2), dtype=np.uint8)
    samples = [{"image": image, "label": row % 2} for row, image in enumerate(images)]
    return {"train": samples, "validation": samples, "test": samples}
"""
PART = "import torch\n\ndef activation(x):\n    return torch.relu(x)\n"


class Lines(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("compress.cli.app.silence_libraries", lambda: None)
    for name, text in (("net", NET), ("images", IMAGES), ("part", PART)):
        Path(f"{name}.py").write_text(text)
    Path("unused.py").write_text("")
    Path("recipe.yaml").write_text(RECIPE)
    return tmp_path


def reused(lines: Lines) -> set[str]:
    return {line.split(":")[0] for line in lines.lines if "taken from disk" in line}


def ran(**options: object) -> Lines:
    lines = Lines()
    compress.run("recipe.yaml", threads=1, device="cpu", progress=lines, **options)
    return lines


def change(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text or not old
    Path(path).write_text(text.replace(old, new) if old else text + new)


@pytest.mark.slow
def test_a_changed_line_redoes_what_came_of_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_thesecretofthistest")
    every = {"00-original", "01-train", "02-export"}
    first = ran()
    assert first.lines[:2] == [
        "runs code that the recipe names: model.python: net:make",
        "runs code that the recipe names: data.python: images:load",
    ]
    assert reused(first) == set()
    manifest = json.loads(Path("exports/small/manifest.json").read_text())
    named = [(entry["key"], entry["function"]) for entry in manifest["python"]]
    assert named == [("model.python", "net:make"), ("data.python", "images:load")]
    assert len({entry["source_sha256"] for entry in manifest["python"]}) == 2
    before = Path("exports/small/model.onnx").read_bytes()
    for name in manifest["files"]:
        content = Path("exports/small", name).read_bytes()
        for told in (str(here), str(Path.home()) + "/", os.uname().nodename, "hf_thesecret"):
            assert told.encode() not in content, name
    assert Path("exports/small/recipe.lock.yaml").read_text().startswith("# The recipe")
    assert load_recipe("exports/small/recipe.lock.yaml").hash == load_recipe("recipe.yaml").hash

    change("unused.py", "", "X = 1\n")
    assert reused(ran()) == every
    change("part.py", "relu", "sin")
    assert reused(ran()) == set()
    assert Path("exports/small/model.onnx").read_bytes() != before


def test_keys_hold_the_code_of_a_stage_and_its_functions(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from compress import Distill
    from compress.runner.keys import next_key

    stage = Distill(student={"python": "net:make"})
    before = next_key("a", stage)
    assert next_key("a", stage) == before
    change("part.py", "relu", "sin")
    assert next_key("a", stage) != before
    assert next_key("a", Distill()) == next_key("a", Distill())
    Path("foreign_stage.py").write_text("import part\n")
    monkeypatch.setattr(Distill, "__module__", "foreign_stage")
    before = next_key("a", Distill())
    change("part.py", "sin", "cos")
    assert next_key("a", Distill()) != before


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        main(["recipe.yaml", "--threads", "1", "--device", "cpu", *arguments])
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert "Traceback" not in said
    assert "--debug" not in said
    return said.strip().splitlines()


def test_no_python(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("net", "images"):
        Path(f"{name}.py").write_text("raise SystemExit(7)")
    change("recipe.yaml", "  - use: export", "  - use: distill\n    student: {python: 'net:small'}")
    lines = failure(capsys, "--no-python")
    assert lines == [
        f"error: recipe.yaml:{line} '{key}' names a function, {name}, "
        "and --no-python refuses those."
        for line, key, name in (
            (4, "model.python", "net:make"),
            (7, "data.python", "images:load"),
            (14, "stages.distill.student.python", "net:small"),
        )
    ]
    assert not Path("exports").exists()
    with pytest.raises(RecipeError) as caught:
        compress.run(load_recipe("recipe.yaml"), python=False)
    problems = caught.value.problems
    assert len(problems) == 3
    assert any(line.startswith("recipe: 'model.python' names a function") for line in problems)


def test_no_python_refuses_a_checkpoint_that_calls_one(here: Path) -> None:
    source = PythonSource("compress.models.resnet:resnet", {"blocks": [1], "width": 4})
    save_checkpoint(source.build(), source, here / "kept")
    assert load_checkpoint(here / "kept")[1] == source
    with pytest.raises(ModelError, match=r"names a function, compress\.models\.resnet:resnet"):
        load_checkpoint(here / "kept", python=False)


def test_check_calls_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("net", "images"):
        Path(f"{name}.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    student = (
        "  - use: distill\n    student: {python: 'os:system', arguments: {command: touch ran}}"
    )
    change("recipe.yaml", "  - use: export", student)
    with pytest.raises(SystemExit) as ended:
        main(["check", "recipe.yaml"])
    said = capsys.readouterr()
    assert ended.value.code == 0, said.err
    assert "the run counts its parameters" in said.out
    assert not Path("ran").exists()


SAMPLES = """
class Odd(list):
    def {method}(self, *given):
        {body}
def load():
    return {{"train": Odd({{"image": 0, "label": 0}} for _ in range(9))}}
"""
LESS = "self.asked = getattr(self, 'asked', 9) - 1; return self.asked"
MORE = "self.asked = getattr(self, 'asked', 9) + 1; return self.asked"


@pytest.mark.parametrize(
    ("module", "text", "said"),
    [
        ("net", "raise OSError('no')", "importing 'net:make' failed: OSError: no"),
        ("net", "import sys; sys.exit('bye')", "importing 'net:make' ended the program"),
        ("net", "def make(): raise ExceptionGroup('g', [ValueError()])", "'net:make' failed: Exc"),
        ("net", "def make(): raise SystemExit(0)", "'net:make' ended the program (exit code 0)"),
        ("net", "def make(): raise MemoryError", "'net:make' failed: MemoryError"),
        ("net", "def make(): return make()", "'net:make' failed: RecursionError"),
        ("net", "def make(): return 3", "'net:make' must return a torch.nn.Module. Got int"),
        ("net", "import torch\ndef make(): return torch.nn.ReLU()", "with parameters. This ReLU"),
        (
            "net",
            "import torch\ndef make(): return torch.nn.Linear(4, 2, device='meta')",
            "'weight' is on the meta device",
        ),
        (
            "net",
            "import torch\ndef make():\n    net = torch.nn.Linear(4, 2)\n"
            "    net.weight = torch.nn.Parameter(net.weight.detach().to_sparse())\n    return net",
            "'weight' is torch.sparse_coo",
        ),
        ("net", "import torch\ndef make(): return torch.nn.LazyLinear(2)", "shapes are known"),
        (
            "net",
            NET.replace("return self.linear", "raise SystemExit(0)  # "),
            "Net.forward of 'net:make' ended the program (exit code 0)",
        ),
        (
            "net",
            NET.replace("return self.linear", "1 / 0  # "),
            "Net.forward of 'net:make' failed: ZeroDivisionError",
        ),
        (
            "images",
            "def load(): raise ValueError('x\\ny')",
            "'images:load' failed: ValueError: x",
        ),
        ("images", "def load(): raise SystemExit(0)", "'images:load' ended the program"),
        ("images", SAMPLES.format(method="__len__", body="raise SystemExit(3)"), "images:load"),
        ("images", SAMPLES.format(method="__len__", body=LESS), "had 8 samples, and then 7"),
        ("images", SAMPLES.format(method="__len__", body=MORE), "'images:load' (split 'train')"),
        ("images", SAMPLES.format(method="__getitem__", body="raise KeyError(3)"), "KeyError: 3"),
    ],
)
def test_what_goes_wrong_there_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], module: str, text: str, said: str
) -> None:
    Path(f"{module}.py").write_text(text)
    [line] = failure(capsys)
    assert said in line
    assert not Path("exports").exists()


def test_a_function_that_closes_a_stream(here: Path) -> None:
    head = "import sys\nfrom torch import nn\ndef make():\n    sys.stdout.close()\n"
    Path("net.py").write_text(f"{head}    return nn.Linear(4, 2)\n")
    command = [sys.executable, "-m", "compress", "recipe.yaml", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: 'net:make' closed the standard ")
    assert "of this program" in line


@pytest.mark.slow
def test_a_forward_that_ends_the_program_later(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = "        if torch.is_grad_enabled() and self.training: raise SystemExit(0)\n"
    change("net.py", "        return self.linear", f"{late}        return self.linear")
    [line] = failure(capsys)
    assert "'net:make' ended the program (exit code 0)" in line
    report = json.loads(Path("exports/small/report.json").read_text())
    assert report["status"] == "failed"
