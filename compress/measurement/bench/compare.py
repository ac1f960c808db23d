"""Times any ONNX files against one another: latency and throughput by batch size and threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.core.bounds import MOST_SAMPLES_AT_ONCE
from compress.core.progress import Progress
from compress.errors import DataError, InputError, LoadError, ModelError, clipped, expected
from compress.measurement.bench import inputs as bench_inputs
from compress.measurement.bench.inputs import Input, declared, fixed_batch, make_inputs
from compress.measurement.child.watch import Unwatched, Watch
from compress.measurement.latency.measure import measure_latency
from compress.measurement.latency.times import Latencies
from compress.measurement.results import Interval
from compress.measurement.session import POSITIONS
from compress.measurement.size import size_bytes
from compress.measurement.spec import MeasureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_SIZES = (1, 32)
MOST_THREADS = 1024
_MOST_NUMBERS = 64


@dataclass(frozen=True)
class Timing:
    """The times of one model at one batch size and one number of threads.

    Attributes
    ----------
    p50_ms, p95_ms : median and 95th percentile of a call, in milliseconds.
    p50_ci95 : 95 % interval of the median, over sittings (`measure_latency`).
    samples_per_second : batch size ÷ median.
    speedup, speedup_ci95 : speedup over the first model, and its 95 % interval.
    """

    model: str
    threads: int
    batch_size: int
    rounds: int
    p50_ms: float
    p50_ci95: Interval
    p95_ms: float
    samples_per_second: float
    samples_per_second_ci95: Interval
    speedup: float
    speedup_ci95: Interval


@dataclass(frozen=True)
class Bench:
    """All timings, with their models and inputs.

    Attributes
    ----------
    models : the files, by the names in the timings.
    size_bytes : bytes of each file, external data included.
    inputs : the models' inputs, in words.
    notes : conditions that couldn't be kept equal.
    """

    models: Mapping[str, Path]
    size_bytes: Mapping[str, int]
    timings: tuple[Timing, ...]
    inputs: str
    notes: tuple[str, ...] = field(default=())


def bench(
    files: Sequence[Path],
    *,
    batch_sizes: Sequence[int] | None = None,
    threads: Sequence[int] = (1,),
    seconds: float = 5.0,
    made: MadeInputs | None = None,
    given: Mapping[str, NDArray[np.generic]] | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Bench:
    """Time files side by side, in interleaved rounds.

    Parameters
    ----------
    files : ONNX files with the same inputs.
    batch_sizes : the batch sizes; None: 1 and 32, or the only one that a file takes.
    threads : the numbers of threads; each is measured separately.
    seconds : time for a batch size; after it no round begins, except for the first 12.
    made : sizes of the dynamic axes of made inputs.
    given : real inputs (N, …) by name, used instead of made ones; a batch repeats them as needed.
    watch : is told of every call into the files.

    Raises
    ------
    InputError : a file doesn't exist, or a batch size or a number of threads isn't positive.
    ModelError : a file can't be loaded.
    DataError : the files' inputs differ, or can't be made.
    StageError : a file can't be run.
    """
    try:
        return _bench(
            _named(files),
            batch_sizes=batch_sizes,
            threads=threads,
            seconds=seconds,
            made=made or MadeInputs(),
            given=given,
            progress=progress,
            watch=watch or Unwatched(),
        )
    except LoadError as error:
        raise ModelError(str(error)) from error


def _bench(
    models: Mapping[str, Path],
    *,
    batch_sizes: Sequence[int] | None,
    threads: Sequence[int],
    seconds: float,
    made: MadeInputs,
    given: Mapping[str, NDArray[np.generic]] | None,
    progress: Progress | None,
    watch: Watch,
) -> Bench:
    bytes_of = {}
    for name, file in models.items():  # before any is loaded
        watch.begin(f"reading {name}")
        bytes_of[name] = size_bytes(file)
        watch.end()
    inputs = _common(models, caches=made.has_past, watch=watch)
    sizes = tuple(batch_sizes) if batch_sizes else _default_sizes(inputs)
    _require("batch sizes", sizes, most=MOST_SAMPLES_AT_ONCE)
    _require("threads", threads, most=MOST_THREADS)
    if given is None:
        arrays = {size: made.arrays(inputs, batch=size) for size in sizes}
        said = made.words(inputs)
    else:
        arrays = {size: _repeated(given, inputs, batch=size) for size in sizes}
        said = f"{len(next(iter(given.values())))} given samples, repeated to a batch"
    timings: list[Timing] = []
    notes: dict[str, None] = {}
    for count in threads:
        spec = MeasureSpec(batch_sizes=sizes, threads=count, seconds=seconds)
        found = measure_latency(models, arrays, spec=spec, progress=progress, watch=watch)
        timings += [_timing(found, name, count, size) for size in sizes for name in models]
        notes.update(dict.fromkeys(found.notes))
    return Bench(models, bytes_of, tuple(timings), said, tuple(notes))


@dataclass(frozen=True)
class MadeInputs:
    """The sizes of made inputs.

    Attributes
    ----------
    length : size of the axes that are a sequence's by their name.
    sizes : sizes of other dynamic axes, by their name; that of a `past` is the caches' length.
    """

    length: int = bench_inputs.LENGTH
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_past(self) -> bool:
        """True if the caches aren't empty."""
        return any("past" in name and size > 0 for name, size in self.sizes.items())

    def arrays(self, inputs: tuple[Input, ...], *, batch: int) -> dict[str, NDArray[np.generic]]:
        """See `inputs.make_inputs`."""
        return dict(make_inputs(inputs, batch=batch, length=self.length, sizes=self.sizes))

    def words(self, inputs: tuple[Input, ...]) -> str:
        """See `inputs.assumed`."""
        return bench_inputs.assumed(inputs, length=self.length, sizes=self.sizes)


def _require(name: str, numbers: Sequence[int], *, most: int) -> None:
    fit = numbers and min(numbers) >= 1 and max(numbers) <= most and len(numbers) <= _MOST_NUMBERS
    if not fit or len(set(numbers)) != len(numbers):
        allowed = f"different whole numbers from 1 on, up to {most}"
        raise InputError(expected(name, allowed, list(numbers)))


def _named(files: Sequence[Path]) -> dict[str, Path]:
    """Files by short names that tell them apart: their own, or those of the folders above."""
    for file in files:
        if not _is_file(file):
            raise InputError(f"there is no file {clipped(str(file))}.")
    if len({file.resolve() for file in files}) < len(files):
        raise InputError(expected("models", "different files", [str(file) for file in files]))
    parts = [file.resolve().parts for file in files]
    # All files of runs' stages are called model.onnx, so their folders' names tell them apart.
    while len(files) > 1 and len({each[-1] for each in parts}) == 1:
        parts = [each[:-1] for each in parts]
    count = 1
    while len({each[-count:] for each in parts}) < len(files):
        count += 1
    return {"/".join(each[-count:]): file for each, file in zip(parts, files, strict=True)}


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):  # no file can have such a name
        return False


def _common(models: Mapping[str, Path], *, caches: bool, watch: Watch) -> tuple[Input, ...]:
    """The inputs that all files declare."""
    found = {}
    for name, file in models.items():
        watch.begin(f"reading {name}")
        found[name] = declared(file, caches=caches)
        watch.end()
    first, *others = found
    for name in others:
        left, right = _signature(found[first]), _signature(found[name])
        if left != right:
            raise DataError(
                f"models are timed on the same inputs, but {first} takes {_list(left)}, and "
                f"{name} takes {_list(right)}."
            )
    together = []
    for same in zip(
        *(sorted(each, key=lambda one: one.name) for each in found.values()), strict=True
    ):
        counts = [one.values for one in same if one.values is not None]
        together.append(
            Input(same[0].name, same[0].type, _narrowest(same), min(counts) if counts else None)
        )
    return tuple(together)


def _signature(inputs: tuple[Input, ...]) -> dict[str, str]:
    return {one.name: f"{one.type} of rank {len(one.axes)}" for one in inputs}


def _list(signature: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in sorted(signature.items())) or "nothing"


def _narrowest(same: tuple[Input, ...]) -> tuple[int | str, ...]:
    """Each axis; its size is fixed if any of the files fixes it."""
    axes: list[int | str] = []
    for number, axis in enumerate(same[0].axes):
        fixed = {one.axes[number] for one in same if isinstance(one.axes[number], int)}
        if len(fixed) > 1:
            raise DataError(
                f"axis {number} of the input {same[0].name!r} is fixed at different sizes: "
                f"{', '.join(str(size) for size in sorted(fixed, key=str))}."
            )
        axes.append(fixed.pop() if fixed else axis)
    return tuple(axes)


def _default_sizes(inputs: tuple[Input, ...]) -> tuple[int, ...]:
    fixed = fixed_batch(inputs)
    return BATCH_SIZES if fixed is None else (fixed,)


def _repeated(
    given: Mapping[str, NDArray[np.generic]], inputs: tuple[Input, ...], *, batch: int
) -> dict[str, NDArray[np.generic]]:
    # Positions that aren't given are computed from the mask.
    missing = [one.name for one in inputs if one.name not in {*given, POSITIONS}]
    if missing:
        raise DataError(
            f"the given inputs lack {', '.join(missing)}. They have: {', '.join(given) or 'none'}."
        )
    names = [one.name for one in inputs if one.name in given]
    return {name: given[name][np.arange(batch) % len(given[name])] for name in names}


def _timing(found: Latencies, model: str, threads: int, size: int) -> Timing:
    runs = found.runs_ms[size][model]
    latency = found.latency(size, model)
    first = next(iter(found.runs_ms[size]))
    speedup, speedup_ci95 = found.speedup(size, model, over=first)
    low, high = found.p50_ci95(size, model)
    return Timing(
        model=model,
        threads=threads,
        batch_size=size,
        rounds=len(runs),
        p50_ms=latency.p50,
        p50_ci95=(low, high),
        p95_ms=latency.p95,
        samples_per_second=1000 * size / latency.p50,
        samples_per_second_ci95=(1000 * size / high, 1000 * size / low),
        speedup=speedup,
        speedup_ci95=speedup_ci95,
    )
