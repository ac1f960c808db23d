"""Imports point downwards, names say something, and the command starts without torch."""

import ast
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import compress

PACKAGE = Path(compress.__file__).parent
FLOORS = (
    {"errors"},
    {"core"},
    {"training", "measurement", "data", "models", "tasks"},
    {"distillation", "pruning", "factorization", "graph_variants", "quantization", "exporting"},
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


def test_imports_point_downwards() -> None:
    for path in FILES:
        room, others = room_of(path), imported_rooms(path)
        above = {other for other in others if LEVEL[other] > LEVEL[room]}
        assert not above, f"{path} imports from above"
        if room in METHODS:
            assert not others & (METHODS - {room}), f"{path}: methods don't import one another"


def name_of(path: Path) -> str:
    parts = ("compress", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_files(path: Path, known: set[str]) -> set[str]:
    """Modules of the package that a file imports, wherever in it, for types alone included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known - {name_of(path)}


def test_no_files_import_one_another_in_a_circle() -> None:
    known = {name_of(path) for path in FILES}
    imports = {name_of(path): imported_files(path, known) for path in FILES}
    try:
        order = list(TopologicalSorter(imports).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(reversed(error.args[1]))}")
    assert len(order) == len(FILES)


def test_folders_stay_small() -> None:
    counts = Counter(path.parent for path in FILES if path.name != "__init__.py")
    crowded = {str(folder): count for folder, count in counts.items() if count > 15}
    assert not crowded, "a folder holds what a reader can take in at a glance"


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
