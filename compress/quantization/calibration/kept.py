"""Finished statistics of a calibration on disk, so that a killed run doesn't repeat the work."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnxruntime

from compress.core.files.atomic import write_bytes
from compress.onnx_graph.files import external_files
from compress.quantization.calibration.ranges import HALF_BINS
from compress.quantization.calibration.statistics import Extremes, Tallied

_FORM = 1  # version of the files' format
_CHECKSUM_BYTES = hashlib.sha256().digest_size


class Kept:
    """The statistics of one model on one set of samples.

    Parameters
    ----------
    folder : the folder of the files, which is created if it is missing; None keeps nothing.
    identity : a digest of the model and of the samples.
    """

    def __init__(self, folder: Path | None, identity: str) -> None:
        self._folder = folder
        self._identity = identity
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def extremes(self, tensors: Sequence[str]) -> dict[str, Extremes] | None:
        """The kept extremes of these tensors; None if there are none or the file is damaged."""
        content = self._read("extremes", tensors)
        if content is None:
            return None
        return {name: Extremes(**values) for name, values in json.loads(content).items()}

    def keep_extremes(self, tensors: Sequence[str], found: Mapping[str, Extremes]) -> None:
        """Keep the extremes of these tensors."""
        values = {name: asdict(extremes) for name, extremes in found.items()}
        self._write("extremes", tensors, json.dumps(values).encode())

    def histograms(self, tensors: Sequence[str]) -> dict[str, Tallied] | None:
        """The kept histograms of these tensors; see `extremes`."""
        content = self._read("histograms", tensors)
        if content is None:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            names, zeros, counts = (arrays[key] for key in ("names", "zeros", "counts"))
        return {
            str(name): Tallied(row, int(zero))
            for name, zero, row in zip(names, zeros, counts, strict=True)
        }

    def keep_histograms(self, tensors: Sequence[str], found: Mapping[str, Tallied]) -> None:
        """Keep the histograms of these tensors."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            names=np.array(list(found), dtype=np.str_),
            zeros=np.array([each.zeros for each in found.values()], np.int64),
            counts=np.stack([each.counts for each in found.values()]),
        )
        self._write("histograms", tensors, buffer.getvalue())

    def _path(self, folder: Path, kind: str, tensors: Sequence[str]) -> Path:
        key = json.dumps(
            [_FORM, HALF_BINS, onnxruntime.__version__, self._identity, kind, *tensors]
        )
        return folder / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"

    def _read(self, kind: str, tensors: Sequence[str]) -> bytes | None:
        if self._folder is None:
            return None
        try:
            content = self._path(self._folder, kind, tensors).read_bytes()
        except OSError:
            return None
        checksum, content = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
        return content if hashlib.sha256(content).digest() == checksum else None

    def _write(self, kind: str, tensors: Sequence[str], content: bytes) -> None:
        if self._folder is not None:
            checksum = hashlib.sha256(content).digest()
            write_bytes(self._path(self._folder, kind, tensors), checksum + content)


def model_digest(source: Path) -> str:
    """SHA-256 of an ONNX file and of the files that hold its external data."""
    found = hashlib.sha256()
    for path in (source, *external_files(source)):
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()
