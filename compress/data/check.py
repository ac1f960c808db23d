"""What a recipe check can see of the data: whether files and modules are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.entries import entry_problem
from compress.data.idx import find_files

if TYPE_CHECKING:
    from compress.data.spec import DataSpec

Problem = tuple[str, str]


def problems_of(spec: DataSpec) -> list[Problem]:
    """(dotted key, problem) pairs; reads no data and imports nothing heavy."""
    problems = [*_files(spec), *_folder(spec), *_idx(spec), *_python(spec)]
    for key, name in (("huggingface", spec.huggingface), ("tokenizer", spec.tokenizer)):
        if isinstance(name, str) and looks_like_path(name) and not Path(name).exists():
            problems.append((key, f"there is no folder {name!r}."))
    return problems


def looks_like_path(name: str) -> bool:
    """Whether a name can only be a path, not a hub id (which has one slash at most)."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def _files(spec: DataSpec) -> list[Problem]:
    return [
        (f"files.{split}", f"there is no file '{path}'.")
        for split in spec.files or {}
        for path in spec.paths(split)
        if not path.is_file()
    ]


def _folder(spec: DataSpec) -> list[Problem]:
    if spec.folder is None or spec.folder.is_dir():
        return []
    return [("folder", f"there is no folder '{spec.folder}'.")]


def _idx(spec: DataSpec) -> list[Problem]:
    if spec.idx is None:
        return []
    if not spec.idx.is_dir():
        return [("idx", f"there is no folder '{spec.idx}'.")]
    return [("idx", missing) for missing in find_files(spec.idx, spec.splits).missing]


def _python(spec: DataSpec) -> list[Problem]:
    problem = None if spec.python is None else entry_problem(spec.python)
    return [] if problem is None else [("python", problem)]
