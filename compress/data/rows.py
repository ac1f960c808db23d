"""Rows of one split before preprocessing. They are fetched a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from compress.core.foreign.boundary import foreign
from compress.errors import DataError, clipped, unknown

if TYPE_CHECKING:
    from compress.core.context import Task
    from compress.data.spec import Columns

Indices = npt.NDArray[np.int64]
Values = Sequence[Any] | npt.NDArray[Any]
LABEL_CHUNK = 4096


class Rows(Protocol):
    """One split. Columns have our names: "image", "tokens" or "text" (and "text_pair")."""

    @property
    def split(self) -> str:
        """Our name of the split, for messages."""
        ...

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """Names that the data itself gives its integer labels; None if it gives none."""
        ...

    def __len__(self) -> int:
        """Number of rows in the split."""
        ...

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """The inputs of some rows, by column."""
        ...

    def labels(self) -> Iterator[Values]:
        """All labels, in order and in chunks; nothing if there is no column of labels."""
        ...


@dataclass(frozen=True)
class ArrayRows:
    """Images (N, H, W) or (N, H, W, C) uint8 in memory, with integer labels (N,)."""

    split: str
    images: npt.NDArray[np.uint8]
    targets: npt.NDArray[Any]
    label_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """See `Rows`."""
        return len(self.images)

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`."""
        return {"image": self.images[indices]}

    def labels(self) -> Iterator[Values]:
        """See `Rows`."""
        yield self.targets


@dataclass(frozen=True)
class SequenceRows:
    """A sequence of mappings that a Python source returned. Its methods are foreign code.

    Attributes
    ----------
    entry : the "package.module:function" that returned it.
    count : number of samples when these rows were made.
    """

    split: str
    samples: Sequence[Mapping[str, Any]]
    columns: dict[str, str]
    label_column: str | None
    entry: str = "data"
    label_names: tuple[str, ...] | None = None
    count: int = field(init=False)

    def __post_init__(self) -> None:
        with self._foreign():
            object.__setattr__(self, "count", len(self.samples))

    def __len__(self) -> int:
        """See `Rows`."""
        return self.count

    def require_length(self) -> None:
        """Raise DataError if the sequence's length has changed."""
        with self._foreign():
            count = len(self.samples)
        if count != self.count:
            raise DataError(
                f"{self.entry!r} must return sequences of a fixed length. That of split "
                f"'{self.split}' had {self.count} samples, and then {count}."
            )

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`."""
        with self._foreign():
            found = [self.samples[int(index)] for index in indices]
            fetched: dict[str, Values] = {
                ours: [
                    self._value(sample, theirs, row)
                    for sample, row in zip(found, indices.tolist(), strict=True)
                ]
                for ours, theirs in self.columns.items()
            }
            require_texts(fetched, indices, self.split, self.columns)
        return fetched

    def _foreign(self) -> AbstractContextManager[None]:
        return foreign(f"{self.entry!r} (split '{self.split}')", error=DataError)

    def labels(self) -> Iterator[Values]:
        """See `Rows`."""
        if self.label_column is None:
            return
        for start in range(0, len(self), LABEL_CHUNK):
            rows = range(start, min(start + LABEL_CHUNK, len(self)))
            with self._foreign():
                chunk = [self._value(self.samples[row], self.label_column, row) for row in rows]
            yield chunk

    def _value(self, sample: Mapping[str, Any], key: str, row: int) -> Any:
        if not isinstance(sample, Mapping):
            raise DataError(
                f"samples must be mappings. Got {type(sample).__name__} in row {row} "
                f"of split '{self.split}'."
            )
        if key not in sample:
            known = unknown("column", key, [str(name) for name in sample])
            raise DataError(f"row {row} of split '{self.split}': {known}")
        return sample[key]


@dataclass(frozen=True)
class JoinedRows:
    """The rows of one split, followed by those of another source."""

    first: Rows
    second: Rows

    @property
    def split(self) -> str:
        """See `Rows`."""
        return self.first.split

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """See `Rows`."""
        return self.first.label_names

    def __len__(self) -> int:
        """See `Rows`."""
        return len(self.first) + len(self.second)

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`."""
        later = indices >= len(self.first)
        if not later.any():
            return self.first.fetch(indices)
        if later.all():
            return self.second.fetch(indices - len(self.first))
        ours = self.first.fetch(indices[~later])
        theirs = self.second.fetch(indices[later] - len(self.first))
        # Position of each row in the concatenation of `ours` and `theirs`.
        place = np.where(later, np.cumsum(later) - 1 + (~later).sum(), np.cumsum(~later) - 1)
        joined: dict[str, Values] = {}
        for name, values in ours.items():
            both = [*values, *theirs[name]]
            joined[name] = [both[at] for at in place]
        return joined

    def labels(self) -> Iterator[Values]:
        """See `Rows`."""
        yield from self.first.labels()
        yield from self.second.labels()


def input_columns(columns: Columns, task: Task, available: Sequence[str] = ()) -> dict[str, str]:
    """The data's names of the input columns, by our names.

    Parameters
    ----------
    available : names of all columns. For a task that isn't built in, the columns keep their names,
        and those of labels are among them.
    """
    if task.target == "own":
        return {name: name for name in available}
    if task.modality == "image":
        return {"image": columns.image}
    if task.target == "token-class":
        return {"tokens": columns.tokens}
    pair = {} if columns.text_pair is None else {"text_pair": columns.text_pair}
    return {"text": columns.text, **pair}


def label_column(columns: Columns, task: Task) -> str | None:
    """The column of the labels; None if there is none, or the task reads none.

    Embeddings read the scores of pairs, where a recipe names their column.
    """
    if task.target == "none" and columns.text_pair is not None:
        return columns.label if "label" in columns.model_fields_set else None
    return None if task.target in ("next-token", "none", "own") else columns.label


def require_texts(
    fetched: Mapping[str, Values], indices: Indices, split: str, columns: Mapping[str, str]
) -> None:
    """Raise DataError, naming row and field, if a column of texts or words holds something else.

    Parameters
    ----------
    columns : the data's names of the columns, by ours.
    """
    for column in ("text", "text_pair"):
        for row, value in zip(indices.tolist(), fetched.get(column, ()), strict=False):
            where = f"row {row} of split '{split}': {columns[column]!r}"
            if not isinstance(value, str):
                given = "nothing" if value is None else clipped(repr(value))
                raise DataError(f"{where} must be a text. Got {given}.")
            _require_unicode(value, where)
    for row, value in zip(indices.tolist(), fetched.get("tokens", ()), strict=False):
        where = f"row {row} of split '{split}': {columns['tokens']!r}"
        listed = isinstance(value, list | tuple | np.ndarray) and len(value) > 0
        if not listed or not all(isinstance(word, str) for word in value):
            given = "nothing" if value is None else clipped(repr(value))
            raise DataError(f"{where} must be a list of words. Got {given}.")
        _require_unicode("".join(value), where)


def _require_unicode(text: str, where: str) -> None:
    """Refuse halves of surrogate pairs: Python's strings may hold them, but tokenizers fail."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} must be valid Unicode. Got half a surrogate pair at character {error.start}."
        ) from error
