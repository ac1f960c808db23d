"""manifest.json: sizes and digests of a bundle's files, and the bundle's origin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compress.core.files.atomic import file_digest
from compress.core.files.sealed import SEAL, read_object, require_known, sealed
from compress.errors import InputError, clipped, expected, unknown
from compress.exporting.bundle.write import MODEL

MANIFEST = "manifest.json"
SCHEMA = 1
KEYS = frozenset(
    {
        "schema",
        "name",
        "task",
        "license",
        "license_from",
        "made_from",
        "python",
        "recipe_hash",
        "seed",
        "cpu",
        "environment",
        "files",
        SEAL,
    }
)
"""All keys of a manifest; one with another key wasn't written by compress."""
_ENTRY = {"sha256": str, "bytes": int}
_REQUIRED = ("task", "files", SEAL)


def manifest_text(values: Mapping[str, Any]) -> str:
    """Return the text of manifest.json, with a digest of its content.

    Parameters
    ----------
    values : values of `KEYS`; the schema and the digest are added.
    """
    return sealed({"schema": SCHEMA, **values})


def entry(file: Path) -> dict[str, Any]:
    """Return the entry of a file in a manifest."""
    return {"sha256": file_digest(file), "bytes": file.stat().st_size}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a bundle; `is_whole` says whether it is as it was written.

    Names and entries of its files aren't checked: see `wrong_entry`, and confine the names.

    Raises
    ------
    InputError : there is no manifest, compress didn't write it, or a later version did.
    """
    path = folder / MANIFEST
    if path.is_symlink():
        raise InputError(f"{folder} is no bundle: its {MANIFEST} is a link, and none is followed.")
    if not path.is_file():
        raise InputError(f"{folder} is no bundle: it has no {MANIFEST} that can be read.")
    try:
        manifest = read_object(path)
    except InputError as error:
        raise InputError(
            f"{folder} is no bundle: its {MANIFEST} is no JSON object. {error}"
        ) from error
    require_known(path, manifest, schema=SCHEMA)
    files = manifest.get("files")
    if not isinstance(files, dict) or MODEL not in files:
        raise InputError(f"{folder} is no bundle: its {MANIFEST} names no {MODEL}.")
    if manifest.get("schema") != SCHEMA:
        raise InputError(f"{path}: {expected('schema', str(SCHEMA), manifest.get('schema'))}")
    for key in manifest:
        if key not in KEYS:
            raise InputError(f"{path}: {unknown('key', key, KEYS)}")
    for key in _REQUIRED:
        if key not in manifest:
            raise InputError(f"{path} has no key {key!r}, which every manifest has.")
    return manifest


def wrong_entry(value: object) -> str | None:
    """Return the problem of a file's entry, in words that follow the file's name, or None."""
    right = (
        isinstance(value, dict)
        and set(value) == set(_ENTRY)
        and all(type(value[key]) is kind for key, kind in _ENTRY.items())
    )
    return None if right else f"must have its bytes and sha256 there. It has {clipped(repr(value))}"
