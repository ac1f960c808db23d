"""JSON files that hold their own digest, so that damage and edits are found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.foreign.boundary import reading
from compress.errors import InputError, clipped

SEAL = "digest"
"""The key of the digest: SHA-256 of all other keys as JSON in ASCII, sorted, without spaces."""
SCHEMA = "schema"
_MOST_BYTES = 64 * 2**20
"""Bytes of a file; none that compress writes is larger."""


def sealed(document: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """The text of a JSON file that `unsealed` reads.

    Parameters
    ----------
    document : plain JSON with a "schema".
    """
    whole = {**document, SEAL: digest_of(document)}
    return json.dumps(whole, indent=indent, ensure_ascii=False) + "\n"


def unsealed(path: Path, *, schema: int) -> dict[str, Any] | None:
    """The document that `sealed` wrote, without its digest; None if it is missing or was changed.

    Parameters
    ----------
    schema : the version of the document that the caller reads.

    Raises
    ------
    InputError : a later version of compress wrote it.
    """
    try:
        document = read_object(path)
    except InputError:
        return None
    require_known(path, document, schema=schema)
    if document.get(SCHEMA) != schema or not is_whole(document):
        return None
    return {key: value for key, value in document.items() if key != SEAL}


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises
    ------
    InputError : there is no such file, or it doesn't hold a JSON object.
    """
    with reading(path):
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path} is no file.")
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise InputError(f"{path} has {size:,} bytes; at most {_MOST_BYTES:,} are read.")
        document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise InputError(f"{path} must hold a JSON object. It holds {clipped(repr(document))}.")
    return document


def require_known(path: Path, document: Mapping[str, Any], *, schema: int) -> None:
    """Refuse a document that a later version of compress wrote.

    Raises
    ------
    InputError : the document's schema is larger than `schema`.
    """
    found = document.get(SCHEMA)
    if type(found) is int and found > schema:
        raise InputError(
            f"{path} was written by a later version of compress: it has schema "
            f"{clipped(str(found))}, and this version reads schema {schema}."
        )


def is_whole(document: Mapping[str, Any]) -> bool:
    """Return whether a document holds the digest of its other keys."""
    return document.get(SEAL) == digest_of(document)


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document without its digest, in hex."""
    others = {key: value for key, value in document.items() if key != SEAL}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
