"""Runs `verify_bundle` in a process of its own, for bundles whose models may hang or crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from compress.errors import StageError
from compress.exporting.verify.check import Check
from compress.measurement.child.apart import CALL_SECONDS, apart

_WORK = "compress.exporting.verify.bundle:work"
"""Named rather than imported, as it imports onnx, which the waiting process doesn't need."""


def verify_apart(folder: Path, *, call_seconds: float = CALL_SECONDS) -> Iterator[Check]:
    """Yield the checks of `verify_bundle`; each that runs a model may take `call_seconds`.

    A check that takes longer, or that ends its process, has failed and is the last.

    Raises
    ------
    InputError : the folder is no bundle.
    """
    given = {"folder": str(folder)}
    try:
        for plain in apart(_WORK, given, limit_s=call_seconds):
            yield Check(*plain)
    except StageError as error:
        yield Check("model", "failed", str(error))
