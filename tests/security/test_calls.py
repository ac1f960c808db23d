"""The package's own calls: none lets foreign code in."""

import ast
import inspect
from functools import cache
from pathlib import Path

import datasets
import pytest

import compress

PACKAGE = Path(compress.__file__).parent
REQUIRED = {
    "from_pretrained": ("trust_remote_code", False),
    "from_config": ("trust_remote_code", False),
}
BY_MODULE = {
    ("torch", "load"): ("weights_only", True),
    ("np", "load"): ("allow_pickle", False),
}
NEVER = {"eval", "compile", "load_module", "torch.hub.load", "pickle.load", "pickle.loads"}

OWN_SCRIPT = {
    "exporting/examples/answers.py": (
        "exec(compile(script, 'infer.py', 'exec'), given)",
        "compile(script, 'infer.py', 'exec')",
    ),
    "tasks/answers.py": (
        "exec(compile(text, name, 'exec'), scope)",
        "compile(text, name, 'exec')",
    ),
}
"""The example script is the package's own text: `compress verify` runs no bundle's. A task brings
the text of its answers, and its class runs already."""


@cache
def calls() -> list[tuple[str, ast.Call]]:
    return [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    ]


def wanting(call: ast.Call) -> tuple[str, bool] | None:
    """The keyword that a call lacks."""
    function = call.func
    if not isinstance(function, ast.Attribute):
        return None
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    needed = REQUIRED.get(function.attr) or BY_MODULE.get((owner, function.attr))
    given = {
        word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)
    }
    return None if needed is None or given.get(needed[0]) is needed[1] else needed


def test_every_loader_is_told_to_run_nothing() -> None:
    found = [place for place, call in calls() if wanting(call) is not None]
    assert found == []
    told = [place for place, call in calls() if ast.unparse(call.func).endswith("from_pretrained")]
    assert len(told) >= 6


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("AutoTokenizer.from_pretrained(name)", "trust_remote_code"),
        ("AutoTokenizer.from_pretrained(name, trust_remote_code=True)", "trust_remote_code"),
        ("getattr(t, c).from_config(config, **options)", "trust_remote_code"),
        ("torch.load(path)", "weights_only"),
        ("np.load(path)", "allow_pickle"),
    ],
)
def test_the_search_finds_them(text: str, word: str) -> None:
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    assert wanting(call)[0] == word


def test_nothing_else_runs_what_it_reads() -> None:
    found = [
        f"{place} {ast.unparse(call)}"
        for place, call in calls()
        if ast.unparse(call) not in OWN_SCRIPT.get(place.split(":")[0], ())
        and (
            ast.unparse(call.func) in NEVER
            or (ast.unparse(call.func) == "exec" and ast.unparse(call.args[0]) != "''")
            or ast.unparse(call.func) in ("os.system", "subprocess.getoutput")
        )
    ]
    assert found == []


def test_the_installed_datasets_runs_no_scripts() -> None:
    assert "trust_remote_code" not in inspect.signature(datasets.load_dataset).parameters
