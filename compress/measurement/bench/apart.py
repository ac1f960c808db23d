"""Runs `bench` in a process of its own, for files that may hang or crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.foreign.boundary import reading
from compress.core.progress import Progress
from compress.errors import DataError, clipped
from compress.measurement.bench.compare import Bench, MadeInputs, Timing, bench
from compress.measurement.child.apart import CALL_SECONDS, apart
from compress.measurement.child.process import Told
from compress.measurement.child.watch import Watch


def bench_apart(
    files: Sequence[Path],
    *,
    batch_sizes: Sequence[int] | None = None,
    threads: Sequence[int] = (1,),
    seconds: float = 5.0,
    made: MadeInputs | None = None,
    inputs: Path | None = None,
    call_seconds: float = CALL_SECONDS,
    progress: Progress | None = None,
) -> Bench:
    """Run `bench` in a process of its own. Its other parameters are those of `bench`.

    Parameters
    ----------
    inputs : an .npz of real inputs (N, …) by name.
    call_seconds : longest time for loading a file, and for each call of it.

    Raises
    ------
    InputError : as `bench`.
    StageError : as `bench`; or a call took too long, or ended its process.
    """
    made = made or MadeInputs()
    given = {
        "files": [str(file) for file in files],
        "batch_sizes": None if batch_sizes is None else list(batch_sizes),
        "threads": list(threads),
        "seconds": seconds,
        "length": made.length,
        "sizes": dict(made.sizes),
        "inputs": None if inputs is None else str(inputs),
    }
    work = f"{__name__}:work"
    (plain,) = apart(work, given, limit_s=call_seconds, progress=progress)
    return Bench(
        models={name: Path(file) for name, file in plain["models"].items()},
        size_bytes=plain["size_bytes"],
        timings=tuple(_timing(each) for each in plain["timings"]),
        inputs=plain["inputs"],
        notes=tuple(plain["notes"]),
    )


def work(given: Mapping[str, Any], watch: Watch, told: Told) -> None:
    """Run `bench` in the other process, and send its result."""
    found = bench(
        [Path(file) for file in given["files"]],
        batch_sizes=given["batch_sizes"],
        threads=given["threads"],
        seconds=given["seconds"],
        made=MadeInputs(given["length"], given["sizes"]),
        given=None if given["inputs"] is None else _arrays(Path(given["inputs"])),
        progress=told,
        watch=watch,
    )
    models = {name: str(file) for name, file in found.models.items()}
    told.tell("item", {**asdict(found), "models": models})


def _timing(plain: Mapping[str, Any]) -> Timing:
    intervals = ("p50_ci95", "samples_per_second_ci95", "speedup_ci95")
    return Timing(**{**plain, **{name: tuple(plain[name]) for name in intervals}})


def _arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The input arrays in an .npz. Arrays of answers, as in a bundle's samples, are left out."""
    with (
        reading(f"the inputs {clipped(str(path))}", error=DataError),
        np.load(path, allow_pickle=False) as file,
    ):
        found = {name: file[name] for name in file.files if "/" not in name}
    if not found or not all(array.ndim and len(array) for array in found.values()):
        raise DataError(f"{path} must hold arrays (N, …) named as the model's inputs.")
    return found
