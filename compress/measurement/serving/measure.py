"""Measures memory and load time of a process that does nothing but serve one model."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.measurement.child.apart import apart
from compress.measurement.serving.results import Serving

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CALL_SECONDS = 3600.0
_WORK = "compress.measurement.serving.child:serve_once"


def measure_serving(onnx: Path, inputs: Mapping[str, NDArray[Any]], *, threads: int = 1) -> Serving:
    """Load a file in a new process that imports nothing but numpy and ONNX Runtime, and call it.

    Parameters
    ----------
    onnx : the file, which the system has read before, so that the disk doesn't count.
    inputs : arrays (N, …) by input name, of the largest batch that is served.
    threads : number of threads of the session.

    Raises
    ------
    DataError, StageError : the file can't be loaded or run.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "inputs.npz"
        np.savez(file, *inputs.values())
        given = {
            "onnx": str(onnx.resolve()),
            "inputs": str(file),
            "names": list(inputs),
            "threads": threads,
        }
        (found,) = apart(_WORK, given, limit_s=_CALL_SECONDS)
    return Serving(**found)
