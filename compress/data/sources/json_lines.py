"""Records of a file with one JSON object a line, read where they stand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import DataError, clipped

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class JsonLines:
    """The records of a file, of which only the places are held.

    Attributes
    ----------
    path : the file.
    offsets : (N,) int64, the byte at which each record's line begins.
    """

    path: Path
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of records."""
        return len(self.offsets)

    def read(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """Return the records at some rows, in their order.

        Raises
        ------
        DataError : a line isn't an object any more.
        """
        with self.path.open("rb") as stream:
            found = []
            for row in rows:
                stream.seek(int(self.offsets[row]))
                where = f"record {row + 1} of {clipped(str(self.path))}"
                found.append(record(stream.readline(), where))
            return found


def scan(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the first byte and the record of each line; empty lines are passed over.

    Raises
    ------
    DataError : a line isn't a JSON object; the message names it.
    """
    offset = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield offset, record(line, f"line {number} of {clipped(str(path))}")
            offset += len(line)


def record(line: bytes, where: str) -> dict[str, Any]:
    """Return the object in a line.

    Parameters
    ----------
    where : words for the line, for messages.

    Raises
    ------
    DataError : the line isn't a JSON object.
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} isn't JSON: {clipped(str(error))}.") from error
    if not isinstance(found, dict):
        raise DataError(f"{where} must be an object. Got {clipped(repr(found))}.")
    return found
