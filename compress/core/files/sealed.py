"""JSON files that hold a digest of themselves: damage and edits show, later versions are named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.foreign.boundary import reading
from compress.errors import InputError, clipped

SEAL = "digest"
"""The key that holds SHA-256 of all the others, as JSON with sorted keys, no spaces and ASCII."""
SCHEMA = "schema"
_MOST_BYTES = 64 * 2**20
"""No file of ours is larger."""


def sealed(document: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """The text of a JSON file that `unsealed` gives back.

    Parameters
    ----------
    document : plain JSON with a "schema".
    """
    whole = {**document, SEAL: digest_of(document)}
    return json.dumps(whole, indent=indent, ensure_ascii=False) + "\n"


def unsealed(path: Path, *, schema: int) -> dict[str, Any] | None:
    """What `sealed` wrote, without its digest; None where the file is missing, or isn't as written.

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
    """The object that a JSON file holds.

    Raises
    ------
    InputError : there is no such file, or it holds anything else.
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
    """Refuse what a later version of compress wrote.

    Raises
    ------
    InputError : its schema is larger than the one that is read.
    """
    found = document.get(SCHEMA)
    if type(found) is int and found > schema:
        raise InputError(
            f"{path} was written by a later version of compress: it has schema "
            f"{clipped(str(found))}, and this version reads schema {schema}."
        )


def is_whole(document: Mapping[str, Any]) -> bool:
    """Whether a document holds the digest of all else in it."""
    return document.get(SEAL) == digest_of(document)


def digest_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document's keys but its digest, in hex."""
    others = {key: value for key, value in document.items() if key != SEAL}
    text = json.dumps(others, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
