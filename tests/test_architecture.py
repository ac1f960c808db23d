"""Imports point downwards, names say something, and the command starts without torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import compress

PACKAGE = Path(compress.__file__).parent
FLOORS = (
    {"errors"},
    {"core"},
    {"training", "measurement", "data", "models", "tasks"},
    {"distillation", "pruning", "factorization", "fusion", "quantization", "exporting"},
    {"stages"},
    {"recipe"},
    {"report"},
    {"runner"},
    {"cli", "testing", "__main__", "__init__"},
)
METHODS = FLOORS[3]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [node.module or ""]
            if node.module == "compress":
                names = [f"compress.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("compress.")}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    room = room_of(path)
    above = {other for other in imported_rooms(path) if LEVEL[other] > LEVEL[room]}
    assert not above
    if room in METHODS:
        assert not imported_rooms(path) & (METHODS - {room}), "methods don't import one another"


def test_every_room_has_its_floor() -> None:
    assert {room_of(path) for path in FILES} <= set(LEVEL)


@pytest.mark.parametrize(
    "statement",
    [
        "import compress",
        "import compress.cli",
        "import compress.recipe.load",
        "from compress.core.registry import stage_class, stage_names\n"
        "[stage_class(name) for name in stage_names()]",
        "from compress import Pipeline, Train",
    ],
)
def test_light_imports_bring_no_torch(statement: str) -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'onnx', 'onnxruntime', 'sklearn', 'accelerate'}"
    script = f"import sys\n{statement}\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
