"""Finds all problems of plain values for a pydantic model, in the sentences of `compress`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from compress.errors import expected, unknown
from compress.recipe.document import Keys, dotted
from compress.recipe.suggestions import suggestion
from compress.recipe.types import (
    Shape,
    allowed,
    field_shape,
    item_shape,
    members,
    models_of,
    upper_limit,
)

_NAMED = re.compile(r"'([\w.\[\]]+)' ")
_LONGEST = 80


class Fault(NamedTuple):
    """One problem of a value: the keys inside it, and the sentence.

    `whole` says that the problem lies in several keys together, rather than in one.
    """

    keys: Keys
    sentence: str
    whole: bool = False


def faults(
    model: type[BaseModel], value: Mapping[str, Any], *, also: Sequence[str] = ()
) -> list[Fault]:
    """Return all problems of plain values for a model; empty if the model can be built from them.

    This is stricter than pydantic: neither a string nor a boolean is taken for a number, and NaN
    and infinity are refused.

    Parameters
    ----------
    also : further keys that are allowed beside the model's, listed among the known ones.
    """
    found: dict[Keys, Fault] = {}
    for fault in [*_mistyped(Shape(model), value, ()), *_refused(model, value, also)]:
        found.setdefault((*fault.keys, fault.sentence), fault)
    return list(found.values())


def brief(value: object) -> object:
    """Return the value, or if it is long, an object that prints as its beginning."""
    return value if len(repr(value)) <= _LONGEST else _Brief(value)


def bad_value(keys: Keys, shape: Shape | None, value: object) -> Fault:
    """Return a fault with the standard sentence for a value that its field doesn't allow."""
    words = "something else" if shape is None else allowed(shape)
    quoted = isinstance(value, str) and shape is not None and _means_number(value, shape)
    hint = " It is a text: write the number without quotes." if quoted else ""
    if shape is not None and _is_percentage(value, shape):
        hint = f" It is a fraction: {value} % is {value / 100:g}."  # type: ignore[operator]
    return Fault(keys, expected(dotted(keys), words, brief(value)) + hint)


def _is_percentage(value: object, shape: Shape) -> bool:
    """Return whether a number stands for a percentage where a fraction below 1 is wanted."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    below_1 = any(upper_limit(member) == 1 for member in members(shape))
    return number and below_1 and 10 <= value <= 100  # type: ignore[operator]


def said_by_model(keys: Keys, message: str) -> Fault:
    """Return a fault with a model's own message about a value, under the value's full name.

    Parameters
    ----------
    keys : the place of the model, or of the field that the message is about.
    message : the message, with or without the field's name in front.
    """
    match = _NAMED.match(message)
    name = dotted(keys)
    if match is None:
        return Fault(keys, f"{name!r}: {message}" if keys else message, whole=True)
    rest = message[match.end() :]
    if name == match[1] or name.endswith(f".{match[1]}"):
        return Fault(keys, f"{name!r} {rest}", whole=True)
    inner = (*keys, *match[1].split("."))
    return Fault(inner, f"{dotted(inner)!r} {rest}", whole=True)


class _Brief:
    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        text = repr(self.value)
        return f"{text[: _LONGEST - 3]}..."


def _refused(
    model: type[BaseModel], value: Mapping[str, Any], also: Sequence[str]
) -> Iterator[Fault]:
    """Yield a fault for each value that pydantic refuses."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        details = error.errors(include_url=False)
        for detail in details:
            fault = _translate(detail, _Walk(model, value, details), also)
            if fault is not None:
                yield fault


class _Walk:
    """Follows the location of an error through types and values at once.

    pydantic's locations name the alternatives of a union too; those aren't keys of the recipe.
    """

    def __init__(
        self, model: type[BaseModel], value: object, details: Sequence[ErrorDetails]
    ) -> None:
        self.shape: Shape | None = Shape(model)
        self.value = value
        self.details = details
        self.keys: Keys = ()
        self.seen: tuple[str | int, ...] = ()

    def alternative(self, tag: str | int) -> bool | None:
        """Return whether the tag names the model that a mapping was meant for; None if no model."""
        models = models_of(self.shape) if self.shape and isinstance(self.value, Mapping) else []
        if not models:
            return None
        self.seen = (*self.seen, tag)
        chosen = models[0] if len(models) == 1 else min(models, key=self._blame)
        self.shape = Shape(chosen)
        return _is_tag(tag, chosen)

    def _blame(self, model: type[BaseModel]) -> tuple[int, int]:
        """Return how badly a mapping fits a model: numbers of unknown keys and of other errors."""
        at = len(self.seen) - 1
        foreign = (
            set(self.value) - set(model.model_fields) if isinstance(self.value, Mapping) else ()
        )
        errors = sum(
            detail["loc"][:at] == self.seen[:at]
            and len(detail["loc"]) > at
            and _is_tag(detail["loc"][at], model)
            for detail in self.details
        )
        return len(foreign), errors

    def step(self, key: str | int) -> None:
        """Go to an item."""
        self.seen = (*self.seen, key)
        self.keys = (*self.keys, key)
        self.shape = _child(self.shape, key)
        inside = isinstance(self.value, Mapping | list)
        try:
            self.value = self.value[key] if inside else None  # type: ignore[index]
        except (KeyError, IndexError):
            self.value = None


def _is_tag(tag: str | int, model: type[BaseModel]) -> bool:
    return isinstance(tag, str) and re.search(rf"\b{model.__name__}\b\]*$", tag) is not None


def _child(shape: Shape | None, key: str | int) -> Shape | None:
    for member in members(shape) if shape else []:
        for model in models_of(member):
            if isinstance(key, str) and key in model.model_fields:
                return field_shape(model.model_fields[key])
        found = item_shape(member, key)
        if found is not None:
            return found
    return None


def _translate(detail: ErrorDetails, walk: _Walk, also: Sequence[str]) -> Fault | None:
    """Return a pydantic error as a fault; None if another error says it better."""
    location = list(detail["loc"])
    if location and location[-1] == "[key]":
        return _bad_key(location, walk)
    while location:
        if walk.shape is not None and _alternatives(walk.shape) > 1:
            meant = walk.alternative(location.pop(0))
            if not meant:
                return bad_value(walk.keys, walk.shape, walk.value) if meant is None else None
        elif len(location) == 1 and detail["type"] in ("missing", "extra_forbidden"):
            return _of_key(detail, walk, location[0], also)
        else:
            walk.step(location.pop(0))
    return _of_value(detail, walk)


def _alternatives(shape: Shape) -> int:
    """Return how many kinds of value a shape takes, null aside."""
    return sum(member.annotation is not type(None) for member in members(shape))


def _of_key(detail: ErrorDetails, walk: _Walk, key: str | int, also: Sequence[str]) -> Fault:
    """Return a fault for a key that is missing or isn't known."""
    if detail["type"] == "extra_forbidden":
        return _extra(walk, str(key), () if walk.keys else also)
    if isinstance(key, int):
        return bad_value(walk.keys, walk.shape, walk.value)
    return _missing(walk, key)


def _of_value(detail: ErrorDetails, walk: _Walk) -> Fault:
    """Return a fault for a value that its key doesn't take."""
    if detail["type"] in ("value_error", "assertion_error"):
        return said_by_model(walk.keys, str(detail["ctx"]["error"]))
    if walk.shape is None:
        return Fault(
            walk.keys, f"{dotted(walk.keys)!r}: {detail['msg']}. Got {brief(walk.value)!r}."
        )
    return bad_value(walk.keys, walk.shape, walk.value)


def _missing(walk: _Walk, key: str) -> Fault:
    shape = _child(walk.shape, key)
    words = f" It must be {allowed(shape)}." if shape else ""
    return Fault(walk.keys, f"{dotted((*walk.keys, key))!r} is missing.{words}")


def _extra(walk: _Walk, key: str, also: Sequence[str]) -> Fault:
    models = models_of(walk.shape) if walk.shape else []
    known = [name for model in models for name in model.model_fields]
    value = walk.value.get(key) if isinstance(walk.value, Mapping) else None
    meant = suggestion(key, value, models)
    return unknown_key((*walk.keys, key), [*known, *also], meant=meant)


def unknown_key(keys: Keys, known: Sequence[str], *, meant: str | None = None) -> Fault:
    """Return a fault for a key that its mapping doesn't have.

    Parameters
    ----------
    meant : what to write instead; None: the known key that is spelled nearly so, if there is one.
    """
    inside = f"in {dotted(keys[:-1])!r}: " if len(keys) > 1 else ""
    if meant is None:
        return Fault(keys, inside + unknown("key", str(keys[-1]), known))
    return Fault(keys, f"{inside}{unknown('key', str(keys[-1]), known, nearness=1.0)} {meant}")


def _bad_key(location: list[str | int], walk: _Walk) -> Fault:
    """Return a fault for a key that a mapping's type doesn't allow."""
    *path, key, _ = location
    for step in path:
        walk.step(step)
    for member in members(walk.shape) if walk.shape else []:
        given = get_args(member.annotation)
        if len(given) == 2 and get_origin(given[0]) is Literal:
            return unknown_key((*walk.keys, key), get_args(given[0]))
    return Fault((*walk.keys, key), f"{dotted(walk.keys)!r} doesn't take the key {key!r}.")


def _mistyped(shape: Shape, value: object, keys: Keys) -> Iterator[Fault]:
    """Yield faults for scalars that pydantic would silently convert, and for NaN and infinity."""
    if isinstance(value, Mapping | list):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        if isinstance(value, Mapping) and len(models_of(shape)) > 1:
            return
        for key, item in items:
            inner = _child(shape, key)
            if inner is not None:
                yield from _mistyped(inner, item, (*keys, key))
        return
    kinds = {kind for member in members(shape) for kind in _kinds(member.annotation)}
    if isinstance(value, float) and not math.isfinite(value) and object in kinds:
        yield Fault(keys, expected(dotted(keys), "a finite number", value))
    if object in kinds or value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    wrong = (
        (isinstance(value, bool) and bool not in kinds and bool(kinds & {int, float}))
        or (isinstance(value, str) and str not in kinds and bool(kinds & {int, float, bool}))
        or (is_number and kinds == {bool})
        or (isinstance(value, float) and not math.isfinite(value))
    )
    if wrong:
        yield bad_value(keys, shape, value)


def _means_number(text: str, shape: Shape) -> bool:
    kinds = {kind for member in members(shape) for kind in _kinds(member.annotation)}
    try:
        float(text)
    except ValueError:
        return False
    return str not in kinds and bool(kinds & {int, float})


def _kinds(annotation: Any) -> set[type]:
    """Return the plain types that a type takes; `object` if it takes any."""
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    if annotation is Any:
        return {object}
    if not isinstance(annotation, type) or get_origin(annotation) is not None:
        return set()
    if issubclass(annotation, Enum):
        return {type(item.value) for item in annotation}
    if issubclass(annotation, PurePath | str):
        return {str}
    return {annotation} if annotation in (bool, int, float) else set()
