"""The documents name what exists, and their lines are short enough to be read side by side."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMING = ("CONTRIBUTING.md", "docs/glossary.md")
"""Documents all of whose `code` is compared with the tree."""
FENCED = re.compile(r"^( *)```.*?\n.*?^\1```$", re.MULTILINE | re.DOTALL)
OURS = re.compile(r"`[^`]*\b(your|mine|my)\w*\b[^`]*`", re.IGNORECASE)
PATH = re.compile(r"[\w.-]+(?:/[\w.*-]+)+/?|[\w-]+\.(?:md|py|toml|lock|yaml)|Makefile")


@cache
def words() -> frozenset[str]:
    """Names that the package and its tests define, and their string constants."""
    found: set[str] = set()
    for path in [*(ROOT / "compress").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.FunctionDef() | ast.ClassDef():
                    found.add(node.name)
                case ast.arg():
                    found.add(node.arg)
                case ast.Name() if isinstance(node.ctx, ast.Store):
                    found.add(node.id)
                case ast.Attribute():
                    found.add(node.attr)
                case ast.Constant() if isinstance(node.value, str) and len(node.value) < 40:
                    found.add(node.value)
    return frozenset(found)


def code_of(document: str) -> list[str]:
    text = FENCED.sub("", (ROOT / document).read_text(encoding="utf-8"))
    return re.findall(r"`([^`]+)`", " ".join(text.split()))


def exists(name: str) -> bool:
    return any(any((ROOT / folder).glob(name)) for folder in (".", "compress", "docs"))


def test_the_glossary_points_to_what_defines_each_word() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    entries = re.findall(r"^- \*\*(.+?)\*\*(.*?)(?=^- |\Z)", text, re.MULTILINE | re.DOTALL)
    named = [word for word, _ in entries]
    assert len(named) > 30
    assert named == sorted(named), "in alphabetical order"
    for word, said in entries:
        one_line = " ".join(said.split())
        assert PATH.search(one_line) or "Compare " in one_line, f"{word}: in which file?"
        for name, path in re.findall(r"`(\w+)` in `([^`]+)`", one_line):
            tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
            defined = {getattr(node, "name", None) for node in ast.walk(tree)}
            for node in ast.walk(tree):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    defined.add(node.id)
            assert name in defined, f"{word}: {path} doesn't define {name}"


@pytest.mark.parametrize("document", NAMING)
def test_code_that_a_document_names_exists(document: str) -> None:
    checked = 0
    for code in code_of(document):
        if OURS.fullmatch(f"`{code}`"):
            continue  # a placeholder for the reader's own
        paths = PATH.findall(code)
        for path in paths:
            assert exists(path.rstrip("/")), f"{document}: there is no {path}"
        name = code.rstrip("()")
        if not paths and re.fullmatch(r"[\w.-]+", name):
            assert set(name.split(".")) <= words() | {"compress"}, f"{document}: what is {code}?"
        checked += 1
    assert checked > 30


def test_every_command_of_the_guide_names_tests_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = [block[0] for block in FENCED.finditer(text)]
    named = {path for block in commands for path in re.findall(r"\btests/[\w/.]+", block)}
    assert len(named) >= 7
    missing = sorted(path for path in named if not (ROOT / path).exists())
    assert missing == []


def test_lines_of_documents_are_short() -> None:
    """Tables, code, and what has no place to break may be longer."""
    found = []
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]:
        text = FENCED.sub("", path.read_text(encoding="utf-8"))
        for line in text.splitlines():
            chunk = re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)", lambda part: "x" * len(part[0]), line)
            breaks = len(chunk.strip().removeprefix("- ").split()) > 1
            if len(line) > 100 and breaks and not line.lstrip().startswith("|"):
                found.append(f"{path.name}: {line[:60]}…")
    assert found == [], "at most 100 characters"
