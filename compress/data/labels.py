"""Labels of the data become indices into the model's labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compress.data.rows import Rows, Values
from compress.errors import DataError

Targets = npt.NDArray[np.int64]
_GENERIC = re.compile(r"LABEL_\d+")
_SHOWN = 40
_BY_NUMBER = "labels: the model's are generic (LABEL_0 …), so the data's are taken by number."


@dataclass(frozen=True)
class Encoded:
    """Labels of every split as indices.

    Attributes
    ----------
    labels : class names in the order of the indices: the model's, or those found.
    targets : (N,) indices of each split.
    notes : what was decided.
    """

    labels: tuple[str, ...]
    targets: dict[str, Targets]
    notes: tuple[str, ...]


def encode_labels(splits: Sequence[Rows], labels: tuple[str, ...]) -> Encoded:
    """Map the labels of all splits.

    Names map through `labels` by name. Integers are indices, except where the data names them
    and `labels` knows these names. Without `labels` (a model that has none) the classes are the
    data's own names, or else the names found, sorted, or else 0 to the largest integer.

    Raises
    ------
    DataError : a label that isn't among `labels`, is missing, or is neither a name nor an integer;
        it names split and row.
    """
    notes: tuple[str, ...] = ()
    if not labels:
        labels = _found(splits)
        notes = (f"labels: the model has none; {len(labels)} found in the data.",)
    targets = {}
    for rows in splits:
        targets[rows.split], more = _encode_split(rows, labels)
        notes += tuple(note for note in more if note not in notes)
    return Encoded(labels, targets, notes)


def _encode_split(rows: Rows, labels: tuple[str, ...]) -> tuple[Targets, tuple[str, ...]]:
    names = rows.label_names
    notes: tuple[str, ...] = ()
    generic = all(_GENERIC.fullmatch(label) for label in labels)
    if names is not None and generic and names != labels:
        names, notes = None, (_BY_NUMBER,)
    by_name = {label: index for index, label in enumerate(labels)}
    chunks: list[Targets] = []
    row = 0
    for values in rows.labels():
        chunks.append(_encode_chunk(values, row, rows.split, names, by_name))
        row += len(values)
    return np.concatenate(chunks) if chunks else np.zeros(0, np.int64), notes


def _encode_chunk(
    values: Values, start: int, split: str, names: tuple[str, ...] | None, by_name: dict[str, int]
) -> Targets:
    if isinstance(values, np.ndarray) and values.dtype.kind in "ui" and names is None:
        targets = values.astype(np.int64)
        wrong = np.flatnonzero((targets < 0) | (targets >= len(by_name)))
        if not wrong.size:
            return targets
        raise _unfit(int(targets[wrong[0]]), start + int(wrong[0]), split, by_name)
    return np.fromiter(
        (
            _index(_plain(value, row, split), row, split, names, by_name)
            for row, value in enumerate(values, start)
        ),
        np.int64,
        len(values),
    )


def _index(
    value: str | int, row: int, split: str, names: tuple[str, ...] | None, by_name: dict[str, int]
) -> int:
    if isinstance(value, int):
        if names is None or not 0 <= value < len(names):
            if names is None and 0 <= value < len(by_name):
                return value
            raise _unfit(value, row, split, by_name)
        value = names[value]
    if value not in by_name:
        raise _unfit(value, row, split, by_name)
    return by_name[value]


def _plain(value: Any, row: int, split: str) -> str | int:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)  # a CSV column of integers in which some file had a gap
    given = "nothing" if value is None or value != value else repr(value)
    raise DataError(
        f"row {row} of split '{split}': a label must be a name or an integer. Got {given}."
    )


def _unfit(value: str | int, row: int, split: str, by_name: dict[str, int]) -> DataError:
    shown = ", ".join(list(by_name)[:_SHOWN]) + (", …" if len(by_name) > _SHOWN else "")
    allowed = f"one of the model's {len(by_name)} labels: {shown}"
    if isinstance(value, int):
        allowed = f"a number from 0 to {len(by_name) - 1}, or {allowed}"
    return DataError(f"row {row} of split '{split}': the label must be {allowed}. Got {value!r}.")


def _found(splits: Sequence[Rows]) -> tuple[str, ...]:
    for rows in splits:
        if rows.label_names is not None:
            return rows.label_names
    names: set[str] = set()
    largest = -1
    for rows in splits:
        row = 0
        for values in rows.labels():
            if isinstance(values, np.ndarray) and values.dtype.kind in "ui":
                largest = max(largest, int(values.max()) if values.size else -1)
            else:
                plain = {_plain(value, at, rows.split) for at, value in enumerate(values, row)}
                names |= {value for value in plain if isinstance(value, str)}
                largest = max([largest, *(value for value in plain if isinstance(value, int))])
            row += len(values)
    if names and largest >= 0:
        some = sorted(names)[0]
        raise DataError(
            f"labels must be all names or all integers. Got {some!r} as well as {largest}."
        )
    return tuple(sorted(names)) if names else tuple(str(index) for index in range(largest + 1))
