"""Digests of code: the same everywhere, and other ones once a line that counts is changed."""

import subprocess
import sys
from pathlib import Path

import pytest

from compress.core.foreign.sources import source_digest, source_files


@pytest.fixture
def nets(tmp_path, monkeypatch):
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path) -> None:
    (folder / "nets" / "parts").mkdir(parents=True)
    for name, text in {
        "nets/__init__.py": "SIZE = 3\n",
        "nets/make.py": "import torch, os\nfrom . import parts\nfrom .parts import blocks as b\n",
        "nets/parts/__init__.py": "",
        "nets/parts/blocks.py": "from ..names import NAME\nimport nearby\n",
        "nets/names.py": "NAME = 'a'\n",
        "nets/unused.py": "",
        "nearby.py": "import importlib\nimportlib.import_module('later')\n",
        "later.py": "raise SystemExit\n",
    }.items():
        (folder / name).write_text(text, encoding="utf-8")


def test_what_is_imported_nearby_is_followed_and_nothing_is_run(nets):
    assert sorted(source_files("nets.make")) == [
        "later", "nearby", "nets", "nets.make", "nets.names", "nets.parts", "nets.parts.blocks",
    ]  # fmt: skip
    assert not {"nets", "nearby", "later"} & set(sys.modules)


@pytest.mark.parametrize("name", ["nets/__init__", "nets/names", "later", "nets/make"])
def test_a_changed_line_changes_the_digest(nets, name):
    before = source_digest("nets.make")
    path = nets / f"{name}.py"
    path.write_text(path.read_text() + "X = 1\n")
    assert source_digest("nets.make") != before


def test_nothing_else_does(nets, tmp_path_factory, monkeypatch):
    before = source_digest("nets.make")
    (nets / "nets" / "unused.py").write_text("X = 1\n")
    assert source_digest("nets.make") == before
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere)
    script = (
        "from compress.core.foreign.sources import source_digest; print(source_digest('nets.make'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=elsewhere, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == before


def test_installed_code_counts_by_its_version(monkeypatch):
    assert source_files("torch.nn") == {}
    before = source_digest("torch.nn")
    monkeypatch.setattr("compress.core.foreign.sources.version", lambda name: "0.0")
    assert source_digest("torch.nn") != before


def test_circles_and_broken_files_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ring_a.py").write_text("import ring_b\n")
    Path("ring_b.py").write_text("import ring_a, ring_c\n")
    Path("ring_c.py").write_text("def (:\n")
    assert sorted(source_files("ring_a")) == ["ring_a", "ring_b", "ring_c"]
