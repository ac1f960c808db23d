"""Lines of Python tagged by Python's tokenizer, as tagged words that are available everywhere."""

from __future__ import annotations

import keyword
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from compress.data.sources.library import library_files

KINDS = {
    tokenize.STRING: "STRING",
    tokenize.COMMENT: "COMMENT",
    tokenize.NUMBER: "NUMBER",
}
_KEYWORD, _DEFINITION, _OUTSIDE = "KEYWORD", "DEFINITION", "O"
_WORD = re.compile(r"\w+|[^\w\s]")
_DEFINES = frozenset({"def", "class"})
_LAYOUT = frozenset({tokenize.ENCODING, tokenize.INDENT, tokenize.DEDENT, tokenize.NL})

Sample = dict[str, list[str]]


def load_source_lines(lines_per_module: int = 20, most_words: int = 64) -> dict[str, list[Sample]]:
    """Logical lines of the standard library's sources, for `data: {python: ...}`.

    The words are identifiers, numbers and single signs. Tags are in IOB2. There is a type of tag
    each for the words of a string, those of a comment, a number, a keyword, and the name that a
    `def` or `class` defines.

    Parameters
    ----------
    lines_per_module : lines taken from each source file, at even distances.
    most_words : words of a line that are kept; later ones are left out.

    Returns
    -------
    {"train": [{"tokens": […], "label": ["O", "B-STRING", …]}, …], "validation": …, "test": …}.
    """
    splits: dict[str, list[Sample]] = {"train": [], "validation": [], "test": []}
    for split, file in library_files():
        lines = list(tagged_lines(file))
        step = max(1, len(lines) // lines_per_module)
        for words in lines[::step][:lines_per_module]:
            kept = words[:most_words]
            splits[split].append(
                {"tokens": [word for word, _ in kept], "label": [tag for _, tag in kept]}
            )
    return splits


def tagged_lines(file: Path) -> Iterator[list[tuple[str, str]]]:
    """The logical lines of a source file, as (word, tag) pairs."""
    line: list[tuple[str, str]] = []
    before = ""
    with file.open("rb") as stream:
        for token in tokenize.tokenize(stream.readline):
            if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
                if line:
                    yield line
                line = []
            elif token.type not in _LAYOUT:
                kind = KINDS.get(token.type, _OUTSIDE)
                if token.type == tokenize.NAME:
                    kind = _kind_of_name(token.string, before)
                before = token.string
                line += _tagged(token.string, kind)


def _kind_of_name(name: str, before: str) -> str:
    if before in _DEFINES:
        return _DEFINITION
    return _KEYWORD if keyword.iskeyword(name) else _OUTSIDE


def _tagged(text: str, kind: str) -> list[tuple[str, str]]:
    words = _WORD.findall(text)
    if kind == _OUTSIDE:
        return [(word, _OUTSIDE) for word in words]
    return [(word, f"{'I' if index else 'B'}-{kind}") for index, word in enumerate(words)]
