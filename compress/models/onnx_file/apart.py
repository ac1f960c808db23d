"""Takes a given ONNX file in a process of its own: the first time that it runs, it may hang."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import ModelError, StageError, clipped, few
from compress.measurement.child.apart import apart
from compress.measurement.child.process import Told
from compress.measurement.child.watch import Watch
from compress.models.onnx_file.load import SAMPLES, GivenFile, take
from compress.models.onnx_file.matching import Wanted
from compress.onnx_graph.files import external_files
from compress.onnx_graph.header import read_header

if TYPE_CHECKING:
    from compress.core.context import Batch

CALL_SECONDS = 120.0
"""Longest time of a call: of a run over a few samples, or of loading a small file."""
BYTES_PER_SECOND = 10e6
"""Large files get a further second for each of these bytes, which a slow disk reads in less."""
_LOOPS = ("Loop", "Scan")


def take_apart(
    given: GivenFile,
    batch: Batch,
    *,
    to: Path,
    metadata: Mapping[str, str],
    call_seconds: float | None = None,
) -> tuple[str, ...]:
    """Call `take` in another process, which has the memory that is free now, and no more.

    Parameters
    ----------
    given, batch, to, metadata : as `take` has them.
    call_seconds : longest time of a call into the file; None: 120 s, and more for large files.

    Raises
    ------
    ModelError : as `take`; or a call into the file took too long, or ended its process.
    """
    if call_seconds is None:
        call_seconds = CALL_SECONDS + _bytes_of(given.path) / BYTES_PER_SECOND
    with tempfile.TemporaryDirectory(prefix="compress-") as folder:
        samples = Path(folder) / "samples.npz"
        arrays = {name: np.asarray(values)[:SAMPLES] for name, values in batch.items()}
        np.savez(samples, *arrays.values(), allow_pickle=False)
        plain = {
            "given": asdict(given) | {"path": str(given.path)},
            "names": list(arrays),
            "samples": str(samples),
            "to": str(to),
            "metadata": dict(metadata),
        }
        try:
            (notes,) = apart(
                f"{__name__}:work", plain, limit_s=call_seconds, advice=_advice(given.path)
            )
        except StageError as error:
            raise ModelError(f"{clipped(repr(str(given.path)))}: {error}") from error
    return tuple(notes)


def work(plain: Mapping[str, Any], watch: Watch, told: Told) -> None:
    """Take the file in the other process, and send the notes."""
    fields = dict(plain["given"])
    wanted = tuple(Wanted(**one) for one in fields.pop("wanted"))
    given = GivenFile(**fields | {"path": Path(fields["path"]), "wanted": wanted})
    with np.load(plain["samples"], allow_pickle=False) as file:
        batch = {name: file[f"arr_{at}"] for at, name in enumerate(plain["names"])}
    notes = take(given, batch, to=Path(plain["to"]), metadata=plain["metadata"], watch=watch)
    told.tell("item", notes)


def _bytes_of(path: Path) -> int:
    return sum(file.stat().st_size for file in (path, *external_files(path)))


def _advice(path: Path) -> str:
    """Return a sentence on what may take so long."""
    loops = [str(one) for one in read_header(path).operators if one.kind in _LOOPS]
    if not loops:
        return "The run would call it thousands of times."
    return f"Its {few(loops)} may have no end."
