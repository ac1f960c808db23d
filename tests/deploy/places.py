"""Where `make test-deploy` has set things up, and how programs are run there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".deploy"
HERE = Path(__file__).resolve().parent
NODE_MODULES = PLACE / "npm" / "node_modules"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_NOT_SHIPPED = (
    ".compress",
    ".compress-run.json",
    "stages",
    "report.json",
    "report.md",
    "report.html",
)
_SECONDS = 300


def python_of(name: str) -> Path:
    """The interpreter of an environment, made from requirements-<name>.txt."""
    return _there(PLACE / name / "bin" / "python")


def node() -> Path:
    """Node, of the version that requirements-node.txt names."""
    return _there(PLACE / "node" / "bin" / "node")


def browser() -> str:
    """Chromium, or what it is called here."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert found is not None, f"none of {', '.join(BROWSERS)} is installed; use `make test-deploy`"
    return found


def shipped(run: Path) -> Path:
    """What a user gets of a run: its bundle alone, elsewhere, with its npm packages installed."""
    folder = PLACE / "models" / run.name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(run, folder, ignore=lambda path, _: _NOT_SHIPPED if path == str(run) else ())
    (folder / "node_modules").symlink_to(_there(NODE_MODULES))
    return folder


def run_program(command: Sequence[str | Path], *, folder: Path, **environment: str) -> str:
    """Run it in a folder; returns what it printed. A failure shows what it said."""
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    return ended.stdout


def run_script(program: Path, script: str, given: Mapping[str, Any], folder: Path) -> Any:
    """Run a script of this folder, which reads one JSON file and writes another."""
    asked, answered = folder / "asked.json", folder / "answered.json"
    asked.write_text(json.dumps(given), encoding="utf-8")
    if script.endswith(".mjs"):  # packages are looked for beside the script
        script_file = PLACE / "npm" / Path(script).name
        shutil.copyfile(HERE / script, script_file)
    else:
        script_file = HERE / script
    run_program([program, script_file, asked, answered], folder=folder)
    return json.loads(answered.read_text(encoding="utf-8"))


def printed(text: str) -> list[dict[str, float]]:
    """What infer.py and infer.mjs print: an input, and under it its labels."""
    found: list[dict[str, float]] = []
    for line in text.splitlines():
        if line.startswith("  "):
            value, label = line.split(maxsplit=1)
            found[-1][label] = float(value)
        else:
            found.append({})
    return found


def _environment() -> dict[str, str]:
    """Without what makes this process's Python find our packages, and without a network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def _there(path: Path) -> Path:
    assert path.exists(), f"{path} isn't there; use `make test-deploy`"
    return path
