"""Lines on the installed stages and their fields: the output of `compress stages`."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from compress.recipe.types import allowed, field_shape, models_of
from compress.stages.contract import Stage
from compress.stages.registry import stage_class, stage_names

_WIDTH = 100


def catalog(name: str | None = None) -> list[str]:
    """Return lines on installed stages: their fields, what each allows, defaults and purpose.

    Parameters
    ----------
    name : the only stage that is shown; None shows all.

    Raises
    ------
    RecipeError : there is no such stage, or a stage's package can't be imported.
    """
    lines: list[str] = []
    for use in stage_names() if name is None else (name,):
        lines += [*_stage(use, stage_class(use)), ""]
    return lines[:-1]


def _stage(use: str, stage: type[Stage]) -> Iterator[str]:
    summary = (inspect.getdoc(stage) or "").split("\n\n")[0]
    yield f"{use}: {' '.join(summary.split())}"
    formats = ", ".join(f"{given.value} -> {made.value}" for given, made in stage.accepts.items())
    yield f"  takes {formats}"
    if stage.tasks is not None:
        yield f"  tasks {', '.join(sorted(stage.tasks))}"
    yield from _fields(stage, "", depth=1)


def _fields(model: type[BaseModel], path: str, *, depth: int) -> Iterator[str]:
    for name, field in model.model_fields.items():
        shape = field_shape(field)
        inner = models_of(shape)
        kind = allowed(shape) if len(inner) != 1 else "a mapping"
        if len(inner) == 1 and allowed(shape).endswith(" or null"):
            kind = "a mapping or null"
        yield f"{'  ' * depth}{path}{name}: {kind}{_default(field, nested=bool(inner))}"
        if field.description:
            yield from textwrap.wrap(
                " ".join(field.description.split()),
                _WIDTH,
                initial_indent="  " * (depth + 2),
                subsequent_indent="  " * (depth + 2),
            )
        for found in inner:
            yield from _fields(found, f"{path}{name}.", depth=depth)


def _default(field: FieldInfo, *, nested: bool) -> str:
    if field.is_required():
        return " (required)"
    default = field.get_default(call_default_factory=True)
    if nested and isinstance(default, BaseModel):
        return ""
    plain = to_jsonable_python(default)
    words = {None: "null", True: "true", False: "false"}
    known = plain is None or isinstance(plain, bool)
    return f" (default {words[plain] if known else plain})"
