"""A task's answers: a piece of Python that the bundle's script holds too."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.foreign.boundary import foreign
from compress.errors import StageError

FUNCTION = "answers"


def answers_text(file: Path | None) -> str:
    """Return the text that defines `answers(outputs, roles)`; None: the answers by role.

    Raises
    ------
    StageError : the file can't be read.
    """
    if file is None:
        found = files("compress.tasks").joinpath("scripts", "answers_by_role.py.txt")
        return found.read_text(encoding="utf-8")
    with foreign(f"reading {str(file)!r}", error=StageError):
        return file.read_text(encoding="utf-8")


def script_text(file: Path) -> str:
    """Return the text by which a script takes raw samples; see `Task.script_file`.

    Raises
    ------
    StageError : the file can't be read.
    """
    with foreign(f"reading {str(file)!r}", error=StageError):
        return file.read_text(encoding="utf-8")


@cache
def script_functions(file: Path) -> Mapping[str, Any]:
    """Return what the text of a script defines, so that a task answers as its bundle does.

    Raises
    ------
    StageError : the text fails.
    """
    return _defined(script_text(file), repr(str(file)))


def answered(
    file: Path | None, outputs: Mapping[str, np.ndarray[Any, Any]], roles: Mapping[str, str]
) -> list[Any]:
    """Return the answer for each sample: see `compress.tasks.contract.Task.answers_file`.

    Raises
    ------
    StageError : the file's text or its function fails, or there is no such function.
    """
    name = "the answers by role" if file is None else repr(str(file))
    functions = _defined(answers_text(file), name)
    if FUNCTION not in functions:
        raise StageError(f"{name} must define '{FUNCTION}(outputs, roles)'.")
    with foreign(name, error=StageError):
        return list(functions[FUNCTION](outputs, roles))


def _defined(text: str, name: str) -> dict[str, Any]:
    """Return what a task's own text defines. The task's class runs already, and brings the text."""
    scope: dict[str, Any] = {"np": np}
    with foreign(name, error=StageError):
        exec(compile(text, name, "exec"), scope)  # noqa: S102 (the task's own code)
    return scope
