"""`verify_bundle` in a process of its own, for bundles whose models may hang or crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from compress.errors import StageError
from compress.exporting.verify.check import Check
from compress.measurement.child.apart import CALL_SECONDS, apart
from compress.measurement.child.process import Told
from compress.measurement.child.watch import Watch


def verify_apart(folder: Path, *, call_seconds: float = CALL_SECONDS) -> Iterator[Check]:
    """As `verify_bundle`; each check that runs a model may take `call_seconds`.

    A check that takes longer, or that ends its process, has failed, and is the last.

    Raises
    ------
    InputError : it is no bundle.
    """
    try:
        for plain in apart(f"{__name__}:work", {"folder": str(folder)}, limit_s=call_seconds):
            yield Check(*plain)
    except StageError as error:
        yield Check("model", "failed", str(error))


def work(given: Mapping[str, Any], watch: Watch, told: Told) -> None:
    """What the other process does."""
    from compress.exporting.verify.bundle import verify_bundle

    for check in verify_bundle(Path(given["folder"]), watch=watch):
        told.tell("item", astuple(check))
