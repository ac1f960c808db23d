"""What a recipe check can see of the data: whether files and modules are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.entries import entry_problem
from compress.core.paths import exists, file_problem, folder_problem, only_a_path
from compress.data.idx import find_files
from compress.errors import clipped

if TYPE_CHECKING:
    from compress.data.spec import DataSpec

Problem = tuple[str, str]


def problems_of(spec: DataSpec) -> list[Problem]:
    """(dotted key, problem) pairs; reads no data and imports nothing heavy."""
    problems = [*_files(spec), *_folder(spec), *_idx(spec), *_python(spec)]
    for key, name in (("huggingface", spec.huggingface), ("tokenizer", spec.tokenizer)):
        if isinstance(name, str) and only_a_path(name) and not exists(name):
            problems.append(
                (key, f"there is no folder {clipped(repr(name))}: {folder_problem(name)}.")
            )
    return problems


def _files(spec: DataSpec) -> list[Problem]:
    return [
        (f"files.{split}", f"there is no file {clipped(repr(str(path)))}: {problem}.")
        for split in spec.files or {}
        for path in spec.paths(split)
        if (problem := file_problem(path)) is not None
    ]


def _folder(spec: DataSpec) -> list[Problem]:
    problem = None if spec.folder is None else folder_problem(spec.folder)
    if problem is None:
        return []
    return [("folder", f"there is no folder {clipped(repr(str(spec.folder)))}: {problem}.")]


def _idx(spec: DataSpec) -> list[Problem]:
    if spec.idx is None:
        return []
    problem = folder_problem(spec.idx)
    if problem is not None:
        return [("idx", f"there is no folder {clipped(repr(str(spec.idx)))}: {problem}.")]
    return [("idx", missing) for missing in find_files(spec.idx, spec.splits).missing]


def _python(spec: DataSpec) -> list[Problem]:
    problem = None if spec.python is None else entry_problem(spec.python)
    return [] if problem is None else [("python", problem)]
