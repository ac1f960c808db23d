"""Tells the keys of a recipe that aren't at their default."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from compress.recipe.schema import Recipe


def changed_keys(recipe: Recipe) -> list[str]:
    """Return the dotted keys whose values aren't the default, or that have none.

    A stage stands there by its name: "stages.prune.target.macs". A mapping that has no default is
    named by the keys inside it.
    """
    found: list[str] = []
    for name in type(recipe).model_fields:
        if name != "stages":
            found += _changed(recipe, name, (name,))
    for step in recipe.stages:
        own = ("stages", step.name)
        found.append(".".join((*own, "use")))
        if step.name != step.use:
            found.append(".".join((*own, "name")))
        for name in type(step.stage).model_fields:
            found += _changed(step.stage, name, (*own, name))
    return found


def _changed(owner: BaseModel, name: str, path: tuple[str, ...]) -> Iterator[str]:
    field, value = type(owner).model_fields[name], getattr(owner, name)
    if not field.is_required() and value == field.get_default(call_default_factory=True):
        return
    if isinstance(value, BaseModel):
        inside = [
            key
            for inner in type(value).model_fields
            for key in _changed(value, inner, (*path, inner))
        ]
        yield from inside or [".".join(path)]
    elif isinstance(value, dict) and value:
        for key, inner in value.items():
            if isinstance(inner, BaseModel):
                for own in type(inner).model_fields:
                    yield from _changed(inner, own, (*path, str(key), own))
            else:
                yield ".".join((*path, str(key)))
    else:
        yield ".".join(path)
