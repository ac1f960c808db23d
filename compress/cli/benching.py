"""`compress bench`: what was asked for, and what is shown of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.cli.running import stdout_console
from compress.core.files import write_text
from compress.errors import DataError, InputError, expected
from compress.report.progress import progress_for

if TYPE_CHECKING:
    import numpy as np

    from compress.cli.call import Call


@dataclass(frozen=True)
class Asked:
    """The options of `compress bench`, as they were typed."""

    batch_sizes: str | None
    threads: str
    seconds: float
    length: int
    sizes: Sequence[str]
    inputs: Path | None
    document: Path | None


def bench_models(files: Sequence[Path], asked: Asked, call: Call) -> None:
    """Time the files and show a table; write JSON where it was asked for.

    Raises
    ------
    InputError : an option makes no sense, or a file can't be used.
    StageError : a model can't be run.
    """
    from compress.measurement.bench import Made, bench
    from compress.report.bench import bench_document, show_bench

    sizes = dict(_named_size(word) for word in asked.sizes)
    batches = None if asked.batch_sizes is None else _numbers("--batch-sizes", asked.batch_sizes)
    threads = _numbers("--threads", asked.threads)
    given = None if asked.inputs is None else _arrays(asked.inputs)
    console = stdout_console()
    found = bench(
        files,
        batch_sizes=batches,
        threads=threads,
        seconds=asked.seconds,
        made=Made(asked.length, sizes),
        given=given,
        progress=call.interrupts.watched(progress_for(console, quiet=False)),
    )
    show_bench(found, console)
    if asked.document is not None:
        write_text(asked.document, json.dumps(bench_document(found), indent=2) + "\n")


def _numbers(option: str, words: str) -> list[int]:
    """Such as "1,32"."""
    parts = [part.strip() for part in words.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise InputError(expected(option, "whole numbers with commas between, such as 1,32", words))
    return [int(part) for part in parts]


def _named_size(words: str) -> tuple[str, int]:
    name, _, size = words.rpartition("=")
    if not name or not size.isdecimal():
        raise InputError(expected("--set", "AXIS=SIZE, such as height=224", words))
    return name, int(size)


def _arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz; those of answers, which a bundle's samples hold too, are no inputs."""
    import zipfile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files if "/" not in name}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise DataError(f"can't read the inputs {path}: {error}") from error
    if not found or not all(array.ndim and len(array) for array in found.values()):
        raise DataError(f"{path} must hold arrays (N, …) named as the model's inputs.")
    return found
