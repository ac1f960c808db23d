"""Changes to a recipe from the command line: `--set stages.prune.target.macs=0.4`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from compress.errors import clipped, expected, unknown
from compress.recipe.bounds import MOST_DEPTH, MOST_DIGITS
from compress.recipe.document import Document, Keys, Place, Problem, dotted, parse
from compress.recipe.sentences import brief

_AFTER_THE_FILE = 1_000_000_000


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Apply overrides in order; their problems are added to the document's.

    An override is `keys=value`. Keys are joined by dots; list items are named by number, stages
    also by name or `use`. The value is YAML. Missing keys are added; the recipe check judges them.
    """
    for number, override in enumerate(overrides):
        place = Place(_AFTER_THE_FILE + number, f"--set {clipped(override)}")
        sentence = _apply(document, override, place)
        if sentence is not None:
            document.problems.append(Problem(place, sentence))


def is_override(place: Place) -> bool:
    """Return whether a place is an override rather than a line of the file."""
    return place.line >= _AFTER_THE_FILE


def caused_by_override(document: Document, keys: Keys) -> Place | None:
    """Return the last override of a value at or below `keys`, or None."""
    inside = [
        place
        for at, place in document.places.items()
        if at[: len(keys)] == keys and is_override(place)
    ]
    return max(inside, default=None)


def _apply(document: Document, override: str, place: Place) -> str | None:
    """Change the document; return the override's problem, or None."""
    path, equals, text = override.partition("=")
    names = re.sub(r"\[([0-9]+)\]", r".\1", path.strip()).split(".")
    if not equals or not all(names):
        return "an override must be key=value, such as stages.prune.target.macs=0.5."
    if len(names) > MOST_DEPTH:
        return f"an override may name at most {MOST_DEPTH} keys. Got {len(names):,}."
    parsed = parse(text, "the value")
    if parsed.problems:
        return f"the value {clipped(repr(text))} can't be read: {parsed.problems[0].sentence}"
    if document.data is None:
        return None
    return _set(document, names, parsed.data, place)


def _set(document: Document, names: Sequence[str], value: Any, place: Place) -> str | None:
    here: Any = document.data
    keys: Keys = ()
    for depth, name in enumerate(names):
        is_last = depth == len(names) - 1
        key: str | int = name
        if isinstance(here, list):
            found = _position(here, name, keys)
            if isinstance(found, str):
                return found
            key = found
        elif not isinstance(here, Mapping):
            return expected(
                dotted(keys), f"a mapping, to have a key {clipped(repr(name))}", brief(here)
            )
        keys = (*keys, key)
        if is_last or (isinstance(here, dict) and here.get(name) is None):
            here[key] = value if is_last else {}
            _forget(document, keys)
            document.places[keys] = place
        here = here[key]
    return None


def _forget(document: Document, keys: Keys) -> None:
    """Drop the places of replaced values."""
    for inside in [at for at in document.places if at[: len(keys)] == keys]:
        del document.places[inside]


def _position(items: Sequence[Any], name: str, keys: Keys) -> int | str:
    """Return the position of a list's item, or the problem with the name."""
    if name.isascii() and name.isdigit():
        if len(name) <= MOST_DIGITS and int(name) < len(items):
            return int(name)
        had = f"{dotted(keys)!r} has {len(items)} item(s), numbered from 0"
        return f"{had}: there is no {clipped(name)}."
    if keys != ("stages",):
        return f"an item of {dotted(keys)!r} is named by its number. Got {clipped(repr(name))}."
    stages = [item if isinstance(item, Mapping) else {} for item in items]
    for key in ("name", "use"):
        found = [index for index, stage in enumerate(stages) if stage.get(key) == name]
        if len(found) == 1:
            return found[0]
        if found:
            where = clipped(", ".join(f"stages.{index}" for index in found))
            said = clipped(repr(name))
            return f"{len(found)} stages have {key!r} {said}; say which: {where}."
    known = {str(stage[key]) for stage in stages for key in ("name", "use") if key in stage}
    return unknown("stage", name, known)
