"""Imports point downwards, names say something, and the command starts without torch."""

import ast
import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import compress

PACKAGE = Path(compress.__file__).parent
FLOORS = (
    {"errors"},
    {"core"},
    {"onnx_graph"},
    {"training", "measurement", "data", "models", "tasks"},
    {"distillation", "pruning", "factorization", "graph_variants", "quantization", "exporting"},
    {"stages"},
    {"recipe"},
    {"report"},
    {"runner"},
    {"cli", "testing", "__main__", "__init__"},
)
METHODS = FLOORS[4]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(tree(path)):
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
    for node in ast.walk(tree(path)):
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


HEAVY = {
    *("torch", "transformers", "datasets", "accelerate", "onnx", "onnxruntime"),
    *("numpy", "scipy", "sklearn", "pandas", "pyarrow", "PIL"),
}
LIGHT = (
    "compress.cli.process",
    "compress.cli.command",
    "compress.cli.running",
    "compress.recipe.catalog.stages",
    "compress.recipe.catalog.tasks",
    "compress.recipe.draft.draft",
    "compress.recipe.json_schema",
    "compress.recipe.plan",
    *compress._MODULES.values(),
    *(stage.module for stage in entry_points(group="compress.stages")),
)
"""What `import compress`, `--help`, `check` and the beginning of `run` import."""
TASKS = tuple(
    task.module
    for task in entry_points(group="compress.tasks")
    if task.module.startswith("compress.")
)
"""What `check` imports for the recipe's task: of the heavy libraries only numpy."""
TAKES_SIGNALS = {"compress.cli", "compress.cli.process"}
"""They import nothing before an interrupt can be told in a line."""


class Imports(ast.NodeVisitor):
    """What a file imports: when it is loaded, and when one of its functions is called."""

    def __init__(self, path: Path, known: set[str]) -> None:
        self.known = known
        self.loaded: set[str] = set()
        self.deferred: list[tuple[int, str]] = []
        self._in_function = False
        self.visit(tree(path))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self._in_function = self._in_function, True
        self.generic_visit(node)
        self._in_function = outer

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self._add(node, [alias.name for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        self._add(node, [name if name in self.known else str(node.module) for name in names])

    def _add(self, node: ast.stmt, names: list[str]) -> None:
        if self._in_function:
            self.deferred += [(node.lineno, name) for name in dict.fromkeys(names)]
        else:
            self.loaded.update(names)


def brought(name: str, files: dict[str, Imports]) -> set[str]:
    """Everything that loading a module loads, itself included."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += files[name].loaded if name in files else ()
    return found


def libraries(names: set[str]) -> set[str]:
    ours = {"compress", *sys.stdlib_module_names}
    return {name.partition(".")[0] for name in names} - ours


def test_imports_in_functions_keep_the_start_quick() -> None:
    """Only a file that the start loads may put an import off, and only of what would slow it."""
    known = {name_of(path) for path in FILES}
    files = {name_of(path): Imports(path, known) for path in FILES}
    start = set().union(*(brought(name, files) for name in LIGHT)) & known
    command = set().union(*(brought(name, files) for name in LIGHT[:2])) & known
    heavy = {name: sorted(libraries(files[name].loaded) & HEAVY) for name in sorted(start)}
    assert not {name: found for name, found in heavy.items() if found}, "the start is slow"
    tasks = set().union(*(brought(name, files) for name in TASKS)) & known
    slow = {name: sorted(libraries(files[name].loaded) & (HEAVY - {"numpy"})) for name in tasks}
    assert not {name: found for name, found in slow.items() if found}, "a check is slow"
    start |= tasks
    count, offenders = 0, []
    for name in sorted(known - TAKES_SIGNALS):
        for line, other in files[name].deferred:
            if other not in known:
                continue
            count += 1
            brings = libraries(brought(other, files))
            for_help = name in command and brings - libraries(brought(name, files))
            if not (for_help or (name in start and brings & HEAVY)):
                offenders.append(f"{name}:{line} imports {other}")
    assert count, "there are some"
    assert not offenders, "these belong at the top of their files"


OF_PROTOBUFS = {
    "compress.measurement.macs.inner": "adds nodes to the graphs inside nodes, which have no index",
}
"""Files outside of `onnx_graph/` that may go through the nodes of a protobuf."""
NODES = {"node", "nodes", "every_node"}


def attributes_in(part: ast.AST) -> set[str]:
    return {each.attr for each in ast.walk(part) if isinstance(each, ast.Attribute)}


def names_in(part: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(part) if isinstance(each, ast.Name)}


def goes_through(part: ast.AST) -> bool:
    """Whether what is iterated over are nodes or initializers."""
    return bool(attributes_in(part) & {*NODES, "initializer"} or names_in(part) & {"nodes"})


def iterated(part: ast.expr) -> str | None:
    """The attribute that is gone through, inside `list`, `reversed` and the like."""
    while isinstance(part, ast.Call) and part.args:
        part = part.args[0]
    return part.attr if isinstance(part, ast.Attribute) else None


def own_index(part: ast.AST) -> str | None:
    """What a piece of code does that `onnx_graph.graph.Graph` is there for."""
    if isinstance(part, ast.Attribute):
        fields = ("initializer", "sparse_initializer", "value_info", "metadata_props")
        return f"reads .{part.attr}" if part.attr in fields else None
    if isinstance(part, ast.For | ast.comprehension) and iterated(part.iter) == "node":
        return "iterates over .node"
    if isinstance(part, ast.DictComp | ast.SetComp):
        return own_collection(part)
    if isinstance(part, ast.For) and goes_through(part.iter):
        nodes = names_in(part.target)
        kept = [value for each in ast.walk(part) for value in stored(each)]
        if any(isinstance(value, ast.Name) and value.id in nodes for value in kept):
            return "a dict of nodes, filled in a loop"
    return None


def own_collection(part: ast.DictComp | ast.SetComp) -> str | None:
    """What a comprehension collects of nodes."""
    if not any(goes_through(each.iter) for each in part.generators):
        return None
    variables = set().union(*(names_in(each.target) for each in part.generators))
    if isinstance(part, ast.DictComp):
        whole = isinstance(part.value, ast.Name) and part.value.id in variables
        return "a dict of nodes" if whole else None
    ends = set().union(*(attributes_in(each.iter) for each in part.generators))
    return "a set of names" if (ends | attributes_in(part.elt)) & {"input", "output"} else None


def stored(part: ast.AST) -> list[ast.expr]:
    """What a statement or a call puts into an entry of a mapping."""
    if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Subscript):
        return [part.value]
    if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
        into = part.func.value
        grows = isinstance(into, ast.Subscript) or "setdefault" in attributes_in(part.func)
        return part.args if grows else []
    return []


def test_graphs_are_indexed_in_one_place() -> None:
    """Who makes and who reads a tensor, and what is constant, is asked of `onnx_graph` alone."""
    offenders = []
    for path in FILES:
        if room_of(path) != "onnx_graph" and name_of(path) not in OF_PROTOBUFS:
            for part in ast.walk(tree(path)):
                found = own_index(part)
                if found:
                    line = getattr(part, "lineno", None) or part.iter.lineno
                    offenders.append(f"{path}:{line}: {found}")
    assert not offenders, "compress.onnx_graph.graph.Graph has these"
    assert OF_PROTOBUFS.keys() <= {name_of(path) for path in FILES}


@pytest.mark.parametrize(
    "code",
    [
        "{name: node for node in graph.node for name in node.output}",
        "{name: node for node in graph.nodes for name in node.output}",
        "{tensor.name: tensor for tensor in model.graph.initializer}",
        "[node.name for node in reversed(model.graph.node)]",
        "{name for node in graph.nodes for name in node.input}",
        "for n in graph.nodes:\n    for name in n.input:\n        readers[name].append(n)",
        "for n in nodes:\n    for name in n.input:\n        d.setdefault(name, []).append(n)",
        "for node in graph.every_node:\n    makers[node.output[0]] = node",
    ],
)
def test_an_index_of_ones_own_is_found(code: str) -> None:
    assert any(own_index(part) for part in ast.walk(ast.parse(code)))


def test_one_class_is_called_graph() -> None:
    found = [
        name_of(path)
        for path in FILES
        for part in ast.walk(tree(path))
        if isinstance(part, ast.ClassDef) and part.name.strip("_") == "Graph"
    ]
    assert found == ["compress.onnx_graph.graph"]


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
        "from compress.stages.registry import stage_class, stage_names\n"
        "[stage_class(name) for name in stage_names()]",
        "from compress import *",
    ],
)
def test_light_imports_bring_no_torch(statement: str) -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'onnx', 'onnxruntime', 'sklearn', 'accelerate'}"
    script = f"import sys\n{statement}\nprint(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
