"""Encodes labels that are lists: sets of classes, or a class for each word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.core.batch import IGNORED
from compress.data.labels.named import Names, encode_values, found_names, plain
from compress.data.labels.targets import Tags
from compress.data.rows import Rows
from compress.errors import DataError, clipped

BINARY = "positive"
"""Name of the single class if all labels are 0 or 1."""


def encode_sets(rows: Rows, names: Names) -> npt.NDArray[np.float32]:
    """Sets of classes as rows (N, C) of 0 and 1.

    A label is a list of classes (names or numbers), or a list of floats or booleans that are 0 or
    1, one for each class. If there is one class, a single 0 or 1 is a label too.

    Raises
    ------
    DataError : a label is none of these, or has a class that is unknown or stands twice.
    """
    classes = len(names.by_name)
    targets = np.zeros((len(rows), classes), np.float32)
    row = 0
    for values in rows.labels():
        for value in values:
            targets[row, _members(value, row, names)] = 1
            row += 1
    return targets


def _members(value: Any, row: int, names: Names) -> list[int]:
    """Indices of the classes in one label."""
    classes, where = len(names.by_name), f"row {row} of split '{names.split}'"
    given = _listed(value)
    if given is None:
        if classes == 1 and isinstance(value, bool | int | float | np.number) and value in (0, 1):
            return [0] if value else []
        one = ", or 0 or 1" if classes == 1 else ""
        raise DataError(f"{where}: a label must be a list of classes{one}. Got {_said(value)}.")
    if _is_multi_hot(given):
        if len(given) != classes or not set(given) <= {0, 1}:
            raise DataError(
                f"{where}: a list of numbers, one a class, must be {classes} times 0 or 1. "
                f"Got {clipped(repr(given))}."
            )
        return [index for index, member in enumerate(given) if member]
    members = encode_values(given, [row] * len(given), names).tolist()
    if len(set(members)) < len(members):
        raise DataError(
            f"{where}: a class stands twice in {clipped(repr(given))}. Integers are numbers of "
            "classes; say with floats or booleans, one a class, which of them hold."
        )
    return list(members)


def encode_tags(rows: Rows, names: Names) -> Tags:
    """The class of each word, as an index; -100 is kept.

    Raises
    ------
    DataError : a label isn't a list of known classes, one for each of the row's words.
    """
    encoded: list[npt.NDArray[np.int64]] = []
    for values in rows.labels():
        first = len(encoded)
        words = rows.fetch(np.arange(first, first + len(values), dtype=np.int64))["tokens"]
        for row, (value, tokens) in enumerate(zip(values, words, strict=True), first):
            given = _listed(value)
            if given is None or len(given) != len(tokens):
                what = _said(value) if given is None else f"{len(given)} for {len(tokens)} words"
                raise DataError(
                    f"row {row} of split '{names.split}': a label must be a list of classes, one "
                    f"a word. Got {what}."
                )
            tags = np.full(len(given), IGNORED, np.int64)
            has = [at for at, tag in enumerate(given) if not _is_ignored(tag)]
            tags[has] = encode_values([given[at] for at in has], [row] * len(has), names)
            encoded.append(tags)
    return Tags.of(encoded)


def found_in_lists(splits: Sequence[Rows], *, sets: bool) -> tuple[str, ...]:
    """The classes found in the data, for a model that has none; see `found_names`.

    Parameters
    ----------
    sets : whether the labels are sets of classes.
    """
    single = widest = 0
    seen: dict[str | int, tuple[str, int]] = {}
    for split, row, value in _each(splits):
        given = _listed(value)
        if given is None:
            single += 1
        elif sets and _is_multi_hot(given):
            widest = max(widest, len(given))
        else:
            for item in given:
                if not _is_ignored(item):
                    seen.setdefault(plain(item, row, split), (split, row))
    if widest:
        return tuple(str(index) for index in range(widest))
    if sets and single and not seen:
        return (BINARY,)
    return found_names((split, [row], [value]) for value, (split, row) in seen.items())


def _each(splits: Sequence[Rows]) -> Iterator[tuple[str, int, Any]]:
    for rows in splits:
        row = 0
        for values in rows.labels():
            for value in values:
                yield rows.split, row, value
                row += 1


def _listed(value: Any) -> list[Any] | None:
    """A label's items; None if it isn't a list."""
    if isinstance(value, np.ndarray):
        return list(value.tolist()) if value.ndim == 1 else None
    return list(value) if isinstance(value, list | tuple) else None


def _is_multi_hot(given: list[Any]) -> bool:
    return bool(given) and all(isinstance(item, bool | float | np.floating) for item in given)


def _is_ignored(tag: Any) -> bool:
    return isinstance(tag, int | np.integer) and int(tag) == IGNORED


def _said(value: Any) -> str:
    return "nothing" if value is None else clipped(repr(value))
