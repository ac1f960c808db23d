"""Bounds a file's columns and nesting before a library builds a type from them."""

from __future__ import annotations

import re
from pathlib import Path

from compress.core.foreign.boundary import reading
from compress.errors import DataError

MOST_COLUMNS = 10_000
"""Columns of a file: a library takes seconds for so many, and minutes for a hundred times more."""
MOST_DEPTH = 200
"""Lists and mappings inside one another. Far deeper, a library's own parser ends the process."""
_LONGEST_LINE = 10_000_000
_CHUNK = 1 << 20
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|(\\?\Z))', re.DOTALL)
"""Pattern of a JSON string. The group matches if the text ends inside the string."""
_BLANKS = b" \t\r\n,\xef\xbb\xbf"
_CONTENT = 2


def require_extent(form: str, path: Path) -> None:
    """Refuse a file with more columns or deeper nesting than any table has.

    Parameters
    ----------
    form : format of the file: parquet, csv, json or arrow.

    Raises
    ------
    DataError : the file has more columns, nests deeper, or is damaged.
    """
    with reading(f"'{path}' as {form}", error=DataError):
        columns = _columns(form, path)
        depth = _depth(path) if form == "json" else 0
    if columns > MOST_COLUMNS:
        raise DataError(f"'{path}' must have at most {MOST_COLUMNS:,} columns. Got {columns:,}.")
    if depth > MOST_DEPTH:
        raise DataError(f"'{path}' may nest at most {MOST_DEPTH} deep.")


def _columns(form: str, path: Path) -> int:
    if form == "parquet":
        import pyarrow.parquet

        return len(pyarrow.parquet.read_schema(path).names)
    if form == "csv":
        with path.open("rb") as file:
            return file.readline(_LONGEST_LINE).count(b",") + 1
    return 0


def _depth(path: Path) -> int:
    """The nesting depth of a JSON file. Beyond `MOST_DEPTH` it is only a lower bound.

    Raises
    ------
    DataError : the file holds something besides lists and mappings.
    """
    import numpy as np

    kinds_of = np.full(256, _CONTENT, np.int8)
    for kind, those in ((0, _BLANKS), (1, b"[{"), (-1, b"]}")):
        kinds_of[list(those)] = kind
    depth = deepest = 0
    rest = b""

    def blanked(string: re.Match[bytes]) -> bytes:
        nonlocal rest
        if string[1] is None:
            return b"s"
        rest = string[0]
        return b""

    with path.open("rb") as file:
        while content := file.read(max(_CHUNK, len(rest))):
            text, rest = rest + content, b""
            bare = _STRING.sub(blanked, text)
            kinds = kinds_of[np.frombuffer(bare, np.uint8)]
            depths = depth + np.cumsum(kinds % 2 * kinds, dtype=np.int64)
            if np.any((depths == 0) & (kinds == _CONTENT)):
                raise DataError(f"'{path}' must hold rows: JSON mappings, one a line or in a list.")
            if len(depths):
                depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
            if deepest > MOST_DEPTH:
                break
    return deepest
