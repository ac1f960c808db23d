"""Docstrings of Python's standard library, as English text that is available everywhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from compress.data.sources.library import library_files

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n\s*\n")
_SHORTEST = 16


def load_docstrings(
    part: Literal["whole", "first_sentence"] = "whole",
) -> dict[str, list[dict[str, str]]]:
    """The docstrings of Python's standard library, for `data: {python: ...}`.

    Sources are parsed, not imported. Each text is taken once, in the split of the first file that
    has it. The texts depend on Python's version.

    Parameters
    ----------
    part : "whole" for the whole docstring, "first_sentence" for its first sentence in one line.

    Returns
    -------
    {"train": [{"text": …}, …], "validation": …, "test": …}.
    """
    splits: dict[str, list[dict[str, str]]] = {"train": [], "validation": [], "test": []}
    seen: set[str] = set()
    for split, file in library_files():
        for docstring in docstrings_of(file):
            text = first_sentence(docstring) if part == "first_sentence" else docstring
            if len(text) >= _SHORTEST and text not in seen:
                seen.add(text)
                splits[split].append({"text": text})
    return splits


def docstrings_of(file: Path) -> Iterator[str]:
    """The docstrings of a source file's module, classes and functions, in their order."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, _DOCUMENTED):
            docstring = ast.get_docstring(node)
            if docstring:
                yield docstring


def first_sentence(text: str) -> str:
    """The first sentence of a text, in one line.

    >>> first_sentence("Return a copy\\n  of it. It is shallow.")
    'Return a copy of it.'
    """
    return " ".join(_SENTENCE_END.split(text.strip(), maxsplit=1)[0].split())
