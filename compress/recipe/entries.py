"""The functions that a recipe names with `python: package.module:name`, wherever they stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel

from compress.recipe.document import Keys, dotted
from compress.recipe.schema import Recipe

FIELD = "python"


class Entry(NamedTuple):
    """A function, and the place that names it.

    Attributes
    ----------
    keys : the path to it in the recipe.
    shown : the path as a person writes it, with stages by their names.
    name : "package.module:function".
    """

    keys: Keys
    shown: str
    name: str

    def __str__(self) -> str:
        return f"{self.shown}: {self.name}"

    @property
    def refusal(self) -> str:
        """The problem that a run with --no-python reports."""
        return f"{self.shown!r} names a function, {self.name}, and --no-python refuses those."


def python_entries(recipe: Recipe) -> tuple[Entry, ...]:
    """Return all functions and classes that a recipe names, in its parts and inside stages."""
    found = [
        Entry((section, *keys), dotted((section, *keys)), name)
        for section in ("model", "task", "data", "measure")
        if isinstance(options := getattr(recipe, section), BaseModel)
        for keys, name in named_in(options)
    ]
    for index, step in enumerate(recipe.stages):
        found += [
            Entry(("stages", index, *keys), dotted(("stages", step.name, *keys)), name)
            for keys, name in named_in(step.stage)
        ]
    return tuple(found)


def named_in(options: BaseModel) -> Iterator[tuple[Keys, str]]:
    """Yield (keys, "package.module:function") for every function that some options name."""
    for name in type(options).model_fields:
        value = getattr(options, name)
        if name == FIELD and isinstance(value, str) and ":" in value:
            yield (name,), value
        yield from _inside((name,), value)


def _inside(keys: Keys, value: object) -> Iterator[tuple[Keys, str]]:
    if isinstance(value, BaseModel):
        for inner, name in named_in(value):
            yield (*keys, *inner), name
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _inside((*keys, index), item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _inside((*keys, str(key)), item)
