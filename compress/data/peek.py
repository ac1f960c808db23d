"""Reads the beginning of a local file: its columns, its rows, and some of their labels.

A recipe check reads no more of a file than this. What it can't find is left to the run.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from compress.core.files.paths import file_problem
from compress.core.foreign.boundary import reading
from compress.errors import DataError

MOST_ROWS = 10_000
MOST_BYTES = 20_000_000
"""Bytes of a text file: of a larger one only the columns are read."""
FIRST_ROWS = 1000
"""Rows of which every column is read, where it isn't known yet which columns count."""
_LONGEST_LINE = 1_000_000
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")


@dataclass(frozen=True)
class Peek:
    """The beginning of a file.

    Attributes
    ----------
    columns : names of the columns.
    values : values of one column, from the first row on, as many as were read.
    rows : number of rows in the file; None if it has more than were read.
    names : class names that the file gives the integers of that column; None if it gives none.
    """

    columns: tuple[str, ...]
    values: Sequence[Any]
    rows: int | None
    names: tuple[str, ...] | None = None


def peek(path: Path, *, form: str, column: str | None) -> Peek | None:
    """The beginning of a file; None if all of the file would have to be read.

    Parameters
    ----------
    form : "csv", "json", "parquet" or "arrow".
    column : the column whose values are read; None reads no values.
    """
    if file_problem(path) is not None:
        return None  # the check of paths reports this; a pipe is never opened
    readers: Mapping[str, Callable[[Path, str | None], Peek | None]] = {
        "csv": _csv,
        "json": _json,
        "parquet": _parquet,
        "arrow": _arrow,
    }
    try:
        with reading(path, error=DataError):
            return readers[form](path, column)
    except DataError:
        return None  # the library that reads the whole file reports what is wrong, if anything


def _csv(path: Path, column: str | None) -> Peek | None:
    whole = path.stat().st_size <= MOST_BYTES
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(_bounded(file))
        header = next(lines, None)
        if header is None:
            return Peek((), (), 0)
        wanted = header.index(column) if column in header else None
        first = [row for row in islice(lines, MOST_ROWS) if row] if whole else []
        rows = len(first) if whole and next(lines, None) is None else None
    if any(len(row) != len(header) for row in first):
        return None  # some row has another number of cells than the header
    values = [] if wanted is None else _typed([row[wanted] for row in first])
    return Peek(tuple(header), values, rows)


def _typed(cells: list[str]) -> Sequence[Any]:
    """A column as its reader types it: numbers or booleans if all cells are."""
    if all(_INTEGER.fullmatch(cell) for cell in cells):
        return [int(cell) for cell in cells]
    if {cell.lower() for cell in cells} <= {"true", "false"}:
        return [cell.lower() == "true" for cell in cells]
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return cells


def _json(path: Path, column: str | None) -> Peek | None:
    whole = path.stat().st_size <= MOST_BYTES
    with path.open(encoding="utf-8-sig") as file:
        listed = file.read(100).lstrip()[:1] == "["
        file.seek(0)
        if listed and not whole:
            return None
        found = json.load(file) if listed else list(islice(_objects(file), MOST_ROWS + 1))
    if not all(isinstance(row, dict) for row in found):
        return None
    rows = None if len(found) > MOST_ROWS and not listed else len(found)
    columns = tuple(dict.fromkeys(name for row in found for name in row))
    return Peek(columns, [row.get(column) for row in found] if column in columns else (), rows)


def _objects(file: TextIO) -> Iterator[Any]:
    for line in _bounded(file):
        if line.strip():
            yield json.loads(line)


def _bounded(file: TextIO) -> Iterator[str]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise DataError("a line is too long to look at.")
        yield line


def _parquet(path: Path, column: str | None) -> Peek | None:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        values: list[Any] = []
        if column in schema.names:
            batch = next(file.iter_batches(batch_size=MOST_ROWS, columns=[column]), None)
            values = [] if batch is None else batch.column(0).to_pylist()
        return Peek(tuple(schema.names), values, file.metadata.num_rows, _names(schema, column))


def _arrow(path: Path, column: str | None) -> Peek | None:
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        file = _arrow_reader(source)
        values: list[Any] = []
        rows = 0
        for batch in file:
            rows += batch.num_rows
            if column in file.schema.names and len(values) < MOST_ROWS:
                values += batch.column(column).slice(0, MOST_ROWS).to_pylist()
        return Peek(tuple(file.schema.names), values, rows, _names(file.schema, column))


def _arrow_reader(source: Any) -> Any:
    """A reader of the batches of a file of either of Arrow's formats."""
    import pyarrow

    try:
        return pyarrow.ipc.open_stream(source)
    except pyarrow.ArrowInvalid:
        source.seek(0)
        opened = pyarrow.ipc.open_file(source)
        return pyarrow.RecordBatchReader.from_batches(
            opened.schema, (opened.get_batch(at) for at in range(opened.num_record_batches))
        )


def _names(schema: Any, column: str | None) -> tuple[str, ...] | None:
    """Class names that `datasets` keeps in a file's metadata; None if there are none."""
    kept = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = kept.get("info", {}).get("features", {}).get(column, {})
    feature = feature.get("feature", feature) if isinstance(feature, dict) else {}
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else None


def first_rows(path: Path, *, form: str) -> Mapping[str, Sequence[Any]] | None:
    """Every column at the beginning of a file; None if all of the file would have to be read.

    Columns of parquet and arrow files that hold mappings or bytes, as images do, have their type's
    name in place of each value.

    Parameters
    ----------
    form : see `peek`.

    Raises
    ------
    DataError : the file is damaged.
    """
    readers: Mapping[str, Callable[[Path], Mapping[str, Sequence[Any]] | None]] = {
        "csv": _csv_rows,
        "json": _json_rows,
        "parquet": _parquet_rows,
        "arrow": _arrow_rows,
    }
    with reading(path, error=DataError):
        return readers[form](path)


def _csv_rows(path: Path) -> Mapping[str, Sequence[Any]] | None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(_bounded(file))
        header = next(lines, [])
        rows = [row for row in islice(lines, FIRST_ROWS) if row]
    if any(len(row) != len(header) for row in rows):
        return None  # some row has another number of cells than the header
    return {name: _typed([row[at] for row in rows]) for at, name in enumerate(header)}


def _json_rows(path: Path) -> Mapping[str, Sequence[Any]] | None:
    with path.open(encoding="utf-8-sig") as file:
        listed = file.read(100).lstrip()[:1] == "["
        file.seek(0)
        if listed and path.stat().st_size > MOST_BYTES:
            return None
        found = json.load(file)[:FIRST_ROWS] if listed else list(islice(_objects(file), FIRST_ROWS))
    if not all(isinstance(row, dict) for row in found):
        return None
    names = dict.fromkeys(name for row in found for name in row)
    return {name: [row.get(name) for row in found] for name in names}


def _parquet_rows(path: Path) -> Mapping[str, Sequence[Any]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        plain = [one.name for one in file.schema_arrow if not _is_opaque(one.type)]
        batch = next(file.iter_batches(batch_size=FIRST_ROWS, columns=plain), None)
        return _columns(file.schema_arrow, batch, min(file.metadata.num_rows, FIRST_ROWS))


def _arrow_rows(path: Path) -> Mapping[str, Sequence[Any]]:
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        file = _arrow_reader(source)
        batch = next(iter(file), None)
        return _columns(file.schema, batch, 0 if batch is None else min(batch.num_rows, FIRST_ROWS))


def _columns(schema: Any, batch: Any, rows: int) -> dict[str, Sequence[Any]]:
    return {
        one.name: [str(one.type)] * rows
        if batch is None or _is_opaque(one.type)
        else batch.column(one.name).slice(0, rows).to_pylist()
        for one in schema
    }


def _is_opaque(kind: Any) -> bool:
    return str(kind).startswith(("struct", "binary", "large_binary"))
