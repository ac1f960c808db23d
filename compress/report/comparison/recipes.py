"""The keys by which recipes differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_STAGES = "stages"
_LEFT_OUT = frozenset({"name", "version"})


class RecipeLine(NamedTuple):
    """A key whose value isn't the same in all recipes.

    Attributes
    ----------
    key : such as "stages.prune.target.macs".
    values : the value in each recipe, as JSON; None where the recipe has no such key.
    """

    key: str
    values: tuple[str | None, ...]


def changed_lines(recipes: Sequence[Mapping[str, Any]]) -> list[RecipeLine]:
    """Return the keys by which resolved recipes differ, in the order of the recipes.

    Stages go by their names; the keys of one that a recipe hasn't aren't compared with its. An
    empty recipe, which old reports have, makes no line.
    """
    if not all(recipes):
        return []
    flat = [dict(_flat(recipe)) for recipe in recipes]
    keys = list(dict.fromkeys(key for each in flat for key in each))
    stages = [
        {f"{_STAGES}.{step['name']}." for step in recipe.get(_STAGES, [])} for recipe in recipes
    ]
    found = []
    for key in keys:
        known = [
            each.get(key)
            for each, theirs in zip(flat, stages, strict=True)
            if not key.startswith(f"{_STAGES}.") or any(map(key.startswith, theirs))
        ]
        if len(set(known)) > 1:
            found.append(RecipeLine(key, tuple(each.get(key) for each in flat)))
    return found


def _flat(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in recipe.items():
        if key == _STAGES:
            yield _STAGES, json.dumps([step["name"] for step in value])
            for step in value:
                rest = {name: inner for name, inner in step.items() if name != "name"}
                yield from _leaves(f"{_STAGES}.{step['name']}", rest)
        elif key not in _LEFT_OUT:
            yield from _leaves(key, value)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key, json.dumps(value)
