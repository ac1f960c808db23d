"""The recipe of a run as lines of YAML that know whether they are at their default."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from compress.report.document import Report

_PLAIN = re.compile(r"[A-Za-z_./](?:[\w./+-]|:(?! |$)| (?! |$))*")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "~"}


class Line(NamedTuple):
    """A line of the recipe."""

    text: str
    changed: bool


def recipe_lines(report: Report) -> list[Line]:
    """Return the recipe of a run; empty if the report doesn't hold it."""
    changed = set(report.changed_keys)
    return list(_mapping(report.recipe, "", (), changed)) if report.recipe else []


def _mapping(
    values: Mapping[str, Any], indent: str, path: tuple[str, ...], changed: set[str]
) -> Iterator[Line]:
    for key, value in values.items():
        own = (*path, str(key))
        if own == ("stages",):
            yield Line("stages:", True)
            for step in value:
                yield from _step(step, changed)
        elif isinstance(value, dict) and value:
            yield Line(f"{indent}{key}:", _any(own, changed))
            yield from _mapping(value, f"{indent}  ", own, changed)
        else:
            yield Line(f"{indent}{key}: {_scalar(value)}", _is(own, changed))


def _step(step: Mapping[str, Any], changed: set[str]) -> Iterator[Line]:
    lines = list(_mapping(step, "    ", ("stages", str(step.get("name"))), changed))
    for number, line in enumerate(lines):
        yield line._replace(text=f"  - {line.text[4:]}") if number == 0 else line


def _is(path: tuple[str, ...], changed: set[str]) -> bool:
    return any(".".join(path[: n + 1]) in changed for n in range(len(path)))


def _any(path: tuple[str, ...], changed: set[str]) -> bool:
    own = ".".join(path)
    return _is(path, changed) or any(key.startswith(f"{own}.") for key in changed)


def _scalar(value: Any) -> str:
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
