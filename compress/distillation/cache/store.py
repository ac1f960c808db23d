"""A store of rows on disk that are only appended, with a log of the rows that count.

A commit writes rows, then a log record with their checksums. Each is flushed to the disk before the
next. When the store is opened, everything after the last whole record is cut off. If the rows of a
record are short or damaged, everything from that record on is cut off.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from compress.core.files.atomic import write_text
from compress.core.files.owned import is_folder
from compress.core.files.sealed import sealed, unsealed
from compress.distillation.cache.arrays import Array, Rows
from compress.distillation.cache.names import HEADER, LOG, own_files, rows_name
from compress.errors import InputError

Ids = npt.NDArray[np.int64]

_SCHEMA = 1
_PIECE = 1 << 24
"""Number of bytes read at a time when checksums are verified."""
_RESIDENT = 1 << 24
"""Bytes read after which mapped pages are released; they stay in the system's file cache."""


class Store:
    """The rows of `size` samples. Memory holds 20 bytes for each sample, and one uncommitted part.

    Parameters
    ----------
    directory : the store's own folder; made if it doesn't exist.
    size : number of samples; sample ids are below it.
    verify : check all rows, and cut off those that aren't whole. False only reads, and needs a
        store that was verified before.

    Attributes
    ----------
    cut : bytes that were cut off, as they weren't whole or weren't as written.

    Raises
    ------
    InputError : `directory` is a file or a link, or a later version of compress wrote it.
    """

    def __init__(self, directory: Path, *, size: int, verify: bool = True) -> None:
        self.directory = directory
        self.arrays: tuple[Array, ...] = ()
        self._place = np.full(size, -1, np.int64)  # row of arrays with one row a sample
        self._first = np.zeros(size, np.int64)  # first row of arrays with one row a token
        self._tokens = np.zeros(size, np.int32)
        self._samples = self._rows = 0
        self._pending: list[tuple[Ids, Ids, Mapping[str, Rows]]] = []
        self._maps: dict[str, np.memmap] = {}
        self._gathered = 0
        self.cut = 0
        if verify:
            if os.path.lexists(directory) and not is_folder(directory):
                raise InputError(f"{directory} must be a folder; it is a file or a link.")
            directory.mkdir(parents=True, exist_ok=True)
        self._replay(verify=verify)

    @property
    def done(self) -> npt.NDArray[np.bool_]:
        """Mask of the samples that have committed rows, (size,)."""
        return self._place >= 0

    @property
    def bytes(self) -> int:
        """Number of bytes on disk of all its files."""
        return sum(path.stat().st_size for path in own_files(self.directory))

    @property
    def pending_bytes(self) -> int:
        """Number of bytes of rows that aren't committed yet."""
        return sum(values.nbytes for _, _, rows in self._pending for values in rows.values())

    def begin(self, arrays: Sequence[Array]) -> None:
        """Set the arrays of the store; call it once, before the first append to an empty store."""
        self.arrays = tuple(arrays)
        values = {"schema": _SCHEMA, "arrays": [asdict(array) for array in arrays]}
        write_text(self.directory / HEADER, sealed(values))

    def append(self, ids: Ids, tokens: Ids, rows: Mapping[str, Rows]) -> None:
        """Add samples' rows, by array name, to the next commit.

        Parameters
        ----------
        tokens : (N,), number of rows of each sample in arrays with one row for each token.
        """
        self._pending.append((ids, tokens, rows))

    def commit(self) -> None:
        """Write the appended rows; after it returns, a crash can't undo it."""
        if not self._pending:
            return
        checksums = []
        for array in self.arrays:
            checksum = 0
            with self._path(array).open("ab") as file:
                file.truncate(self._count(array) * array.row_bytes)  # of a commit that failed
                for _, _, rows in self._pending:
                    content = np.ascontiguousarray(rows[array.name]).tobytes()
                    checksum = zlib.crc32(content, checksum)
                    file.write(content)
                _flush(file)
            checksums.append(checksum)
        ids = np.concatenate([ids for ids, _, _ in self._pending])
        tokens = np.concatenate([tokens for _, tokens, _ in self._pending])
        with (self.directory / LOG).open("ab") as file:
            file.write(_record(ids, tokens, checksums))
            _flush(file)
        self._take(ids, tokens)
        self._pending.clear()
        self._maps.clear()

    def gather(self, ids: Ids) -> dict[str, tuple[Array, Rows]]:
        """Return the committed rows of some samples, in their order, by array name."""
        return {array.name: (array, self._gather(array, ids)) for array in self.arrays}

    def tokens(self, ids: Ids) -> Ids:
        """Return the numbers of tokens of some samples."""
        return self._tokens[ids].astype(np.int64)

    def _gather(self, array: Array, ids: Ids) -> Rows:
        places = self._place[ids]
        if array.per_token:
            spans = zip(self._first[ids], self._tokens[ids], strict=True)
            places = np.concatenate([np.arange(first, first + count) for first, count in spans])
        mapped = self._map(array)
        values: Rows = mapped[places]
        self._gathered += values.nbytes
        if self._gathered > _RESIDENT and hasattr(mmap, "MADV_DONTNEED"):
            self._gathered = 0
            for other in self._maps.values():
                other._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
        return values

    def _map(self, array: Array) -> np.memmap:
        if array.name not in self._maps:
            count = self._count(array)
            self._maps[array.name] = np.memmap(
                self._path(array), dtype=array.dtype, mode="r", shape=(count, *array.shape)
            )
        return self._maps[array.name]

    def _count(self, array: Array) -> int:
        """Committed rows."""
        return self._rows if array.per_token else self._samples

    def _path(self, array: Array) -> Path:
        return self.directory / rows_name(self.arrays.index(array))

    def _take(self, ids: Ids, tokens: Ids) -> None:
        """Mark a record's rows as present."""
        self._place[ids] = self._samples + np.arange(len(ids))
        self._first[ids] = self._rows + np.cumsum(tokens) - tokens
        self._tokens[ids] = tokens
        self._samples += len(ids)
        self._rows += int(tokens.sum())

    def _replay(self, *, verify: bool) -> None:
        self.arrays = _read_header(self.directory / HEADER)
        end = 0
        for ids, tokens, checksums, stop in _records(self.directory / LOG, len(self.arrays)):
            if ids.size and (ids.min() < 0 or ids.max() >= len(self._place)):
                break
            if verify and not self._whole(len(ids), int(tokens.sum()), checksums):
                break
            self._take(ids, tokens)
            end = stop
        if verify:
            self._cut(end)

    def _whole(self, samples: int, tokens: int, checksums: Sequence[int]) -> bool:
        """Return whether the next rows are those that a record describes."""
        for array, wanted in zip(self.arrays, checksums, strict=True):
            start = self._count(array) * array.row_bytes
            count = (tokens if array.per_token else samples) * array.row_bytes
            found = _checksum(self._path(array), start, length=count)
            if found != wanted:
                return False
        return True

    def _cut(self, log_end: int) -> None:
        """Cut off everything that no whole record describes."""
        before = self.bytes
        if self._samples:
            os.truncate(self.directory / LOG, log_end)
            for array in self.arrays:
                os.truncate(self._path(array), self._count(array) * array.row_bytes)
        else:
            for path in own_files(self.directory):
                path.unlink()
            self.arrays = ()
        self.cut = before - self.bytes


def _record(ids: Ids, tokens: Ids, checksums: Sequence[int]) -> bytes:
    """Return a record: number of samples, ids, tokens, the rows' checksums, its own checksum."""
    body = b"".join(
        [
            np.uint64(len(ids)).tobytes(),
            ids.astype("<i8").tobytes(),
            tokens.astype("<i4").tobytes(),
            np.array(checksums, "<u4").tobytes(),
        ]
    )
    return body + np.array([zlib.crc32(body)], "<u4").tobytes()


def _records(path: Path, arrays: int) -> Iterator[tuple[Ids, Ids, list[int], int]]:
    """Yield a log's records with the byte at which each ends, up to the first that isn't whole."""
    if not path.is_file() or not arrays:
        return
    size = path.stat().st_size
    with path.open("rb") as file:
        while size - file.tell() >= 8:
            head = file.read(8)
            count = int(np.frombuffer(head, "<u8")[0])
            rest = 12 * count + 4 * arrays + 4
            if rest > size - file.tell():
                return
            body = file.read(rest)
            if zlib.crc32(head + body[:-4]) != np.frombuffer(body[-4:], "<u4")[0]:
                return
            ids = np.frombuffer(body[: 8 * count], "<i8").astype(np.int64)
            tokens = np.frombuffer(body[8 * count : 12 * count], "<i4").astype(np.int64)
            yield ids, tokens, np.frombuffer(body[12 * count : -4], "<u4").tolist(), file.tell()


def _checksum(path: Path, start: int, *, length: int) -> int | None:
    """Return the CRC-32 of a part of a file, read piece by piece; None if the file ends before."""
    if not path.is_file() or path.stat().st_size < start + length:
        return None
    checksum = 0
    with path.open("rb") as file:
        file.seek(start)
        while length:
            piece = file.read(min(length, _PIECE))
            checksum = zlib.crc32(piece, checksum)
            length -= len(piece)
    return checksum


def _read_header(path: Path) -> tuple[Array, ...]:
    """Return the arrays in a header; none if it is missing or damaged, so the store starts anew."""
    values = unsealed(path, schema=_SCHEMA)
    if values is None:
        return ()
    return tuple(
        Array(one["name"], tuple(one["shape"]), one["dtype"], one["per_token"])
        for one in values["arrays"]
    )


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
