"""`compress bench`: reads the options, times the files and shows the results."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.cli.running import stdout_console
from compress.core.files.named import require_folder, write_to
from compress.errors import InputError, expected
from compress.measurement.bench.apart import bench_apart
from compress.measurement.bench.compare import MadeInputs
from compress.report.bench import bench_document, show_bench
from compress.report.progress import progress_for

if TYPE_CHECKING:
    from compress.cli.call import Call


_MOST_DIGITS, _MOST_SECONDS = 18, 3600


@dataclass(frozen=True)
class BenchOptions:
    """The options of `compress bench`, as they were typed."""

    batch_sizes: str | None
    threads: str
    seconds: float
    length: int
    sizes: Sequence[str]
    inputs: Path | None
    document: Path | None
    call_seconds: float


def bench_models(files: Sequence[Path], options: BenchOptions, call: Call) -> None:
    """Time the files and show a table; write JSON if it was asked for.

    Raises
    ------
    InputError : an option makes no sense, or a file can't be used.
    StageError : a model can't be run.
    """
    sizes = dict(_named_size(word) for word in options.sizes)
    batches = (
        None if options.batch_sizes is None else _numbers("--batch-sizes", options.batch_sizes)
    )
    threads = _numbers("--threads", options.threads)
    if not math.isfinite(options.seconds) or options.seconds > _MOST_SECONDS:
        raise InputError(expected("--seconds", f"a number up to {_MOST_SECONDS}", options.seconds))
    if options.document is not None:
        require_folder("--json", options.document)
    console = stdout_console()
    found = bench_apart(
        files,
        batch_sizes=batches,
        threads=threads,
        seconds=options.seconds,
        made=MadeInputs(options.length, sizes),
        inputs=options.inputs,
        call_seconds=options.call_seconds,
        progress=call.interrupts.watched(progress_for(console, quiet=False)),
    )
    show_bench(found, console)
    if options.document is not None:
        write_to("--json", options.document, json.dumps(bench_document(found), indent=2) + "\n")


def _numbers(option: str, words: str) -> list[int]:
    """Return the numbers in words such as "1,32"."""
    parts = [part.strip() for part in words.split(",")]
    if not all(part.isdecimal() and len(part) <= _MOST_DIGITS for part in parts):
        raise InputError(expected(option, "whole numbers with commas between, such as 1,32", words))
    return [int(part) for part in parts]


def _named_size(words: str) -> tuple[str, int]:
    name, _, size = words.rpartition("=")
    if not name or not size.isdecimal() or len(size) > _MOST_DIGITS:
        raise InputError(expected("--set", "AXIS=SIZE, such as height=224", words))
    return name, int(size)
