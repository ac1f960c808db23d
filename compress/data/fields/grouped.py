"""Rows of single members, such as a query with one document each, as samples that list them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from compress.data.fields.choose import choose_fields
from compress.data.rows import LABEL_CHUNK, Indices, Rows, Values
from compress.errors import DataError, clipped

if TYPE_CHECKING:
    from compress.data.sources.source import Source
    from compress.data.spec import Columns
    from compress.tasks.contract import Task

_NAMED = 5
"""Rows of a sample that a message names."""


@dataclass(frozen=True)
class GroupedRows:
    """The rows of a split in groups; implements `Rows`, and a row of it is a group.

    Attributes
    ----------
    rows : the rows as they are.
    order : (N,) their numbers, group after group; within one as in the data.
    ends : (G,) for each group the number of rows up to its last one.
    shared : columns whose value all rows of a group share. The values of others become a list.
    """

    rows: Rows
    order: Indices
    ends: Indices
    shared: tuple[str, ...]

    @property
    def split(self) -> str:
        """See `Rows`."""
        return self.rows.split

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """See `Rows`."""
        return self.rows.label_names

    def __len__(self) -> int:
        """Number of groups."""
        return len(self.ends)

    def members(self, group: int) -> Indices:
        """The numbers of a group's rows."""
        return self.order[self.ends[group - 1] if group else 0 : self.ends[group]]

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`: a value of shared columns, and a list of each other one."""
        members = [self.members(group) for group in indices.tolist()]
        found = self.rows.fetch(np.concatenate(members))
        spans = list(pairwise(np.cumsum([0, *map(len, members)]).tolist()))
        return {
            name: [
                values[first] if name in self.shared else list(values[first:last])
                for first, last in spans
            ]
            for name, values in found.items()
        }

    def labels(self) -> Iterator[Values]:
        """See `Rows`; there are none, since a task reads its labels as columns."""
        return iter(())

    def place(self, group: int) -> str:
        """A group's rows in words, for messages."""
        rows = self.members(group).tolist()
        more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        named = ", ".join(map(str, rows[:_NAMED]))
        return f"row{'s' * (len(rows) > 1)} {named}{more} of split '{self.split}'"


def grouped(source: Source, columns: Columns, task: Task) -> Source:
    """The source with rows of single members as one sample each, where it has such.

    Rows that agree in all fields but the listed one are one sample, wherever in the split they
    stand. Samples are in the order of their first rows.

    Raises
    ------
    DataError : a column is missing, some splits alone have such rows, or a value that rows are
        grouped by isn't a text.
    """
    if not task.listed:
        return source
    splits: dict[str, Rows] = {}
    notes = []
    for split, rows in source.splits.items():
        splits[split] = _grouped(rows, columns, split, task) if len(rows) else rows
        if splits[split] is not rows:
            notes.append(f"{split}: {len(rows)} rows are {len(splits[split])} samples.")
    lists = [split for split, rows in splits.items() if len(rows) and rows is source.splits[split]]
    if notes and lists:
        raise DataError(
            f"either all splits have a row for each of {', '.join(task.listed)}, or none. "
            f"In {', '.join(lists)} they are lists."
        )
    return replace(source, splits=splits, notes=(*source.notes, *notes))


def _grouped(rows: Rows, columns: Columns, split: str, task: Task) -> Rows:
    fields = choose_fields(task, columns, tuple(rows.fetch(np.zeros(1, np.int64))), split)
    if not fields.single:
        return rows
    own = [named for name, named in fields.inputs.items() if name not in fields.single]
    shared = tuple(named for named in own if isinstance(named, str))
    numbers = _numbers(rows, shared)
    order = np.argsort(numbers, kind="stable").astype(np.int64)
    return GroupedRows(rows, order, np.bincount(numbers).cumsum().astype(np.int64), shared)


def _numbers(rows: Rows, columns: Sequence[str]) -> Indices:
    """For each row the number of its group: groups are counted as they come."""
    known: dict[bytes, int] = {}
    numbers = np.empty(len(rows), np.int64)
    for start in range(0, len(rows), LABEL_CHUNK):
        chunk = np.arange(start, min(start + LABEL_CHUNK, len(rows)), dtype=np.int64)
        found = rows.fetch(chunk)
        for row, *values in zip(chunk.tolist(), *(found[name] for name in columns), strict=True):
            for column, value in zip(columns, values, strict=True):
                if not isinstance(value, str):
                    raise DataError(
                        f"row {row} of split '{rows.split}': {column!r} must be a text, as rows "
                        f"are grouped by it. Got {clipped(repr(value))}."
                    )
            texts = "\0".join(f"{len(value)}:{value}" for value in values)
            packed = texts.encode(errors="surrogatepass")  # the task refuses halves of pairs
            key = hashlib.blake2b(packed, digest_size=16).digest()
            numbers[row] = known.setdefault(key, len(known))
    return numbers
