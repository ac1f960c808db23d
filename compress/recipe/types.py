"""Describes in words what a field allows, from its annotation and constraints."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_SCALARS = {bool: "true or false", int: "an int", float: "a float", str: "a string"}


class Shape(NamedTuple):
    """A type and the constraints on it."""

    annotation: Any
    metadata: tuple[Any, ...] = ()


def field_shape(field: FieldInfo) -> Shape:
    """Return the shape of a model's field."""
    return Shape(field.annotation, tuple(field.metadata))


def members(shape: Shape) -> list[Shape]:
    """Return the alternatives of a union, `None` included; a list of one for any other type."""
    annotation, metadata = shape
    if type(annotation).__name__ == "TypeAliasType":  # `type X = …`, from Python 3.12
        return members(Shape(annotation.__value__, metadata))
    if get_origin(annotation) is Annotated:
        inner, *given = get_args(annotation)
        flat = [
            m for item in given for m in (item.metadata if isinstance(item, FieldInfo) else [item])
        ]
        return members(Shape(inner, (*metadata, *flat)))
    if get_origin(annotation) in (typing.Union, types.UnionType):
        return [found for one in get_args(annotation) for found in members(Shape(one, metadata))]
    return [Shape(annotation, metadata)]


def model_of(shape: Shape) -> type[BaseModel] | None:
    """Return the pydantic model that a shape is, or None."""
    annotation = shape.annotation
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def models_of(shape: Shape) -> list[type[BaseModel]]:
    """Return the pydantic models among a shape's alternatives."""
    return [model for member in members(shape) if (model := model_of(member)) is not None]


def item_shape(member: Shape, key: str | int) -> Shape | None:
    """Return the shape of one item of a mapping or list type; None if the type doesn't say."""
    origin, given = get_origin(member.annotation), get_args(member.annotation)
    if not isinstance(origin, type) or not given:
        return None
    if issubclass(origin, Mapping):
        return Shape(given[1])
    if issubclass(origin, tuple) and given[-1] is not Ellipsis:
        return Shape(given[key]) if isinstance(key, int) and key < len(given) else None
    return Shape(given[0]) if issubclass(origin, Collection) else None


def upper_limit(member: Shape) -> Any:
    """Return the upper end of the floats that a shape allows; None if it has none."""
    if member.annotation is not float:
        return None
    le, lt = _limit(member.metadata, "le"), _limit(member.metadata, "lt")
    return le if lt is None else lt


def allowed(shape: Shape) -> str:
    """Return what a shape allows, in words.

    >>> allowed(Shape(int | None, (annotated_types.Ge(1),)))
    'an int >= 1 or null'
    """
    found = list(dict.fromkeys(_describe(member) for member in members(shape)))
    if "null" in found:
        found.sort(key=lambda words: words == "null")
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}"


def _describe(member: Shape) -> str:
    annotation = member.annotation
    if annotation in (None, type(None)):
        return "null"
    if annotation is Any:
        return "any value"
    if get_origin(annotation) is Literal:
        return _choice(get_args(annotation))
    if (model := model_of(member)) is not None:
        return f"a mapping with the keys {', '.join(model.model_fields)}"
    if get_origin(annotation) is not None or annotation in (list, tuple, set, dict):
        return _container(member)
    return _describe_class(annotation, member.metadata)


def _describe_class(annotation: Any, metadata: Sequence[Any]) -> str:
    if not isinstance(annotation, type):
        return str(annotation)
    if issubclass(annotation, Enum):
        return _choice([item.value for item in annotation])
    if issubclass(annotation, PurePath):
        return "a path"
    words = _SCALARS.get(annotation, f"a {annotation.__name__}")
    return words + (_text_limits(metadata) if annotation is str else _interval(metadata))


def _choice(values: Sequence[Any]) -> str:
    words = [_plain(value) for value in values]
    if len(words) <= 2:
        return " or ".join(words)
    return f"one of {', '.join(words)}"


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _limit(metadata: Sequence[Any], name: str) -> Any:
    """Return the tightest constraint with that name; each object of the metadata holds one."""
    found = [getattr(item, name) for item in metadata if getattr(item, name, None) is not None]
    return found[-1] if found else None


def _interval(metadata: Sequence[Any]) -> str:
    """Return a range in mathematical notation, or one comparison."""
    ge, gt = _limit(metadata, "ge"), _limit(metadata, "gt")
    le, lt = _limit(metadata, "le"), _limit(metadata, "lt")
    low = ge if gt is None else gt
    high = le if lt is None else lt
    multiple = _limit(metadata, "multiple_of")
    suffix = "" if multiple is None else f" that is a multiple of {multiple}"
    if low is not None and high is not None:
        opening, closing = "[" if gt is None else "(", "]" if lt is None else ")"
        return f" in {opening}{low}, {high}{closing}{suffix}"
    if low is not None:
        return f" {'>=' if gt is None else '>'} {low}{suffix}"
    if high is not None:
        return f" {'<=' if lt is None else '<'} {high}{suffix}"
    return suffix


def _text_limits(metadata: Sequence[Any]) -> str:
    pattern = _limit(metadata, "pattern")
    if pattern is not None:
        return f" matching {getattr(pattern, 'pattern', pattern)}"
    least, most = _limit(metadata, "min_length"), _limit(metadata, "max_length")
    if least == 1 and most is None:
        return " that isn't empty"
    return f"{_count(least, most)} characters" if least or most else ""


def _count(least: int | None, most: int | None) -> str:
    if least is not None and least == most:
        return f" of {least}"
    if least is not None and most is not None:
        return f" of {least} to {most}"
    return f" of at least {least}" if least is not None else f" of at most {most}"


def _container(member: Shape) -> str:
    origin = get_origin(member.annotation) or member.annotation
    given = get_args(member.annotation)
    if not isinstance(origin, type):
        return str(member.annotation)
    least, most = _limit(member.metadata, "min_length"), _limit(member.metadata, "max_length")
    noun = "item" if (most or least) == 1 else "items"
    count = f"{_count(least, most)} {noun}" if least or most else ""
    if issubclass(origin, Mapping):
        if not given or given[1] is Any:
            return f"a mapping{count}"
        keys = members(Shape(given[0]))[0].annotation
        named = (
            f" with keys among {', '.join(get_args(keys))}" if get_origin(keys) is Literal else ""
        )
        return f"a mapping{named}{count}, each value {allowed(Shape(given[1]))}"
    if not given or given[0] is Any:
        return f"a list{count}"
    if issubclass(origin, tuple) and given[-1] is not Ellipsis:
        each = list(dict.fromkeys(allowed(Shape(one)) for one in given))
        parts = f"each {each[0]}" if len(each) == 1 else ", then ".join(each)
        return f"a list of {len(given)}, {parts}"
    return f"a list{count}, each {allowed(Shape(given[0]))}"
