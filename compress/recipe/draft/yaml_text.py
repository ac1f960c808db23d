"""Writes plain values as YAML with comments."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

Keys = tuple[str | int, ...]
Comments = Mapping[Keys, str]
"""Sentences that stand above a value, by its place."""

_WIDTH = 100
_PLAIN = re.compile(r"[A-Za-z_./~][A-Za-z0-9_./~-]*(:[A-Za-z0-9_]+)?")
"""Pattern of a string that needs no quotes anywhere in YAML, unless it is one of `_WORDS`."""
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "~", ".", ".."})


def yaml_text(values: Mapping[str, Any], comments: Comments) -> str:
    """Return plain values as a YAML document.

    Parameters
    ----------
    values : mappings, lists, strings, numbers, booleans and None.
    comments : the sentence above each value that has one.
    """
    return "\n".join(_mapping(values, (), 0, comments)) + "\n"


def _mapping(values: Mapping[str, Any], at: Keys, indent: int, comments: Comments) -> Iterator[str]:
    for key, value in values.items():
        here, pad = (*at, key), " " * indent
        if not at and any(place[:1] == here for place in comments):
            yield ""
        yield from _comment(comments.get(here), indent)
        name = f"{pad}{scalar(key)}:"
        line = f"{name} {flow(value)}"
        if not _needs_block(value, here, comments) and len(line) <= _WIDTH:
            yield line
        elif isinstance(value, Mapping):
            yield name
            yield from _mapping(value, here, indent + 2, comments)
        elif isinstance(value, list):
            yield name
            yield from _items(value, here, indent + 2, comments)
        else:
            yield line


def _items(values: list[Any], at: Keys, indent: int, comments: Comments) -> Iterator[str]:
    pad = " " * indent
    for index, value in enumerate(values):
        here = (*at, index)
        if isinstance(value, Mapping) and value:
            if index and comments.get(here):
                yield ""
            yield from _comment(comments.get(here), indent)
            lines = list(_mapping(value, here, indent + 2, comments))
            yield f"{pad}- {lines[0].lstrip()}"
            yield from lines[1:]
        else:
            yield f"{pad}- {flow(value)}"


def _needs_block(value: Any, at: Keys, comments: Comments) -> bool:
    inside = any(place[: len(at)] == at and place != at for place in comments)
    return inside or (isinstance(value, list) and any(isinstance(one, Mapping) for one in value))


def _comment(text: str | None, indent: int) -> list[str]:
    start = " " * indent + "# "
    lines = [] if text is None else text.splitlines()
    return [
        wrapped
        for line in lines
        for wrapped in textwrap.wrap(
            line,
            _WIDTH,
            initial_indent=start,
            subsequent_indent=start,
            break_on_hyphens=False,
            break_long_words=False,
        )
    ]


def flow(value: Any) -> str:
    """Return a value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def scalar(value: Any) -> str:
    """Return a string, number, boolean or None as YAML, with quotes where it needs them."""
    if not isinstance(value, str):
        return _number(value) if isinstance(value, float) else json.dumps(value)
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    if plain and not value.lower().startswith((".inf", ".nan")):
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else _escaped(each) for each in quoted)


def _number(value: float) -> str:
    """Return a float with the point that YAML asks for before an exponent."""
    text = repr(value)
    mantissa, exponent, rest = text.partition("e")
    return f"{mantissa}.0e{rest}" if exponent and "." not in mantissa else text


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\U{code:08X}" if code > 0xFFFF else f"\\u{code:04X}"
