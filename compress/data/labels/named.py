"""Encodes single classes, given by name or by number, as indices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from compress.data.rows import Values
from compress.errors import DataError, clipped

MOST_CLASSES = 1_000_000
_SHOWN = 40


class Names(NamedTuple):
    """The names of a split's labels.

    Attributes
    ----------
    split : the split's name, for messages.
    given : names that the data gives its integers; None: integers are the model's indices.
    by_name : the model's index of each name.
    """

    split: str
    given: tuple[str, ...] | None
    by_name: dict[str, int]


def encode_values(
    values: Values, rows: Sequence[int] | range, names: Names
) -> npt.NDArray[np.int64]:
    """Indices of some labels.

    Parameters
    ----------
    rows : the row of each label, for messages.

    Raises
    ------
    DataError : a label is unknown.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "ui" and names.given is None:
        targets = values.astype(np.int64)
        wrong = np.flatnonzero((targets < 0) | (targets >= len(names.by_name)))
        if not wrong.size:
            return targets
        raise _unfit(int(targets[wrong[0]]), rows[int(wrong[0])], names)
    return np.fromiter(
        (
            _index(plain(value, row, names.split), row, names)
            for row, value in zip(rows, values, strict=True)
        ),
        np.int64,
        len(values),
    )


def plain(value: Any, row: int, split: str) -> str | int:
    """A label as a name or an integer.

    Raises
    ------
    DataError : the label is neither.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)  # a gap in a CSV column turns its integers into floats
    given = "nothing" if value is None or value != value else clipped(repr(value))
    raise DataError(
        f"row {row} of split '{split}': a label must be a name or an integer. Got {given}."
    )


def found_names(chunks: Iterable[tuple[str, Iterable[int], Values]]) -> tuple[str, ...]:
    """The classes found in the data, for a model that has none.

    They are the names, sorted, or 0 to the largest integer.

    Parameters
    ----------
    chunks : the split, the row of each label, and the labels.

    Raises
    ------
    DataError : there are names as well as integers, or an integer is too large for a class.
    """
    names: set[str] = set()
    largest = -1
    for split, rows, values in chunks:
        if isinstance(values, np.ndarray) and values.dtype.kind in "ui":
            largest = max(largest, int(values.max()) if values.size else -1)
            continue
        seen = {plain(value, at, split) for at, value in zip(rows, values, strict=True)}
        names |= {value for value in seen if isinstance(value, str)}
        largest = max([largest, *(value for value in seen if isinstance(value, int))])
    if largest >= MOST_CLASSES:
        raise DataError(
            f"a label that is a number must be below {MOST_CLASSES:,}: numbers are taken for "
            f"classes, from 0. Got {clipped(str(largest))}."
        )
    if names and largest >= 0:
        some = sorted(names)[0]
        raise DataError(
            f"labels must be all names or all integers. Got {some!r} as well as {largest}."
        )
    return tuple(sorted(names)) if names else tuple(str(index) for index in range(largest + 1))


def _index(value: str | int, row: int, names: Names) -> int:
    if isinstance(value, int):
        if names.given is None or not 0 <= value < len(names.given):
            if names.given is None and 0 <= value < len(names.by_name):
                return value
            raise _unfit(value, row, names)
        value = names.given[value]
    if value not in names.by_name:
        raise _unfit(value, row, names)
    return names.by_name[value]


def _unfit(value: str | int, row: int, names: Names) -> DataError:
    known = list(names.by_name)
    shown = clipped(", ".join(known[:_SHOWN])) + (", …" if len(known) > _SHOWN else "")
    allowed = f"one of the model's {len(known)} labels: {shown}"
    if isinstance(value, int):
        allowed = f"a number from 0 to {len(known) - 1}, or {allowed}"
    return DataError(
        f"row {row} of split '{names.split}': the label must be {allowed}. "
        f"Got {clipped(repr(value))}."
    )
