"""Times several models against one another, so that noise of a shared machine hits all alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.progress import Advance, Progress, Silent
from compress.errors import StageError, unknown
from compress.measurement.affinity import pinned
from compress.measurement.child.watch import Unwatched, Watch
from compress.measurement.intervals import ratio_of_medians
from compress.measurement.results import Interval, Latency
from compress.measurement.session import failed_at, feed, in_parts, runtime_errors, session
from compress.measurement.spec import MeasureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_ROUNDS = 1000
QUANTILES = 21
"""Number of quantiles that are kept of all timed calls, the fastest and the slowest among them."""
NANOSECONDS_PER_MS = 1e6
Clock = Callable[[], int]
Load = int | str
"""What is timed: a batch size, or a part of generating text."""
Call = Callable[[], object]
Begun = tuple[Callable[[], None], Call]
"""A function that reports the beginning of a call, and the call."""
Timed = Path | Callable[[Mapping[str, "NDArray[Any]"]], Call]
"""An ONNX file; or, for a model without one, a function from inputs to a call that is timed."""


@dataclass(frozen=True, eq=False)
class Latencies:
    """All timed calls of several models.

    Attributes
    ----------
    runs_ms : milliseconds (R,) of each round, by batch size (or part of generating text) and model;
        index r is the same round for every model.
    seed : seed of the bootstrap.
    notes : conditions that couldn't be kept equal.
    """

    runs_ms: Mapping[Load, Mapping[str, NDArray[np.float64]]]
    seed: int = 0
    notes: tuple[str, ...] = field(default=())

    def latency(self, load: Load, model: str) -> Latency:
        """Median, 95th percentile and all quantiles in steps of 5 % over all rounds."""
        runs = self.runs_ms[load][model]
        p50, p95 = np.quantile(runs, [0.5, 0.95])
        return Latency(float(p50), float(p95), quantiles=quantiles(runs))

    def speedup(self, load: Load, model: str, *, over: str) -> tuple[float, Interval]:
        """Median latency of `over` ÷ that of `model`, and its 95 % interval.

        The interval is a bootstrap over paired rounds.
        """
        slow, fast = self.runs_ms[load][over], self.runs_ms[load][model]
        value = float(np.median(slow) / np.median(fast))
        return value, ratio_of_medians(slow, fast, seed=self.seed)


def quantiles(runs_ms: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the 0 %, 5 % … 100 % quantiles of timed calls (R,), with four digits."""
    found = np.quantile(runs_ms, np.linspace(0, 1, QUANTILES))
    return tuple(float(f"{value:.4g}") for value in found)


def measure_latency(
    models: Mapping[str, Timed],
    inputs: Mapping[int, Mapping[str, np.ndarray]],
    *,
    spec: MeasureSpec,
    progress: Progress | None = None,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
    watch: Watch | None = None,
) -> Latencies:
    """Time all models side by side, for each of the spec's batch sizes.

    The process is pinned to as many CPUs as it has threads. A round runs every model once, in a new
    random order, so that disturbances of the machine hit all models alike. First come `spec.warmup`
    rounds that don't count. Then come `spec.rounds`, and more until `spec.seconds` are over or 1000
    rounds are done, so that small batches get many rounds and large ones few. Garbage collection is
    off. All sessions are open at once, so the models must fit into memory together. Two sessions of
    one file can differ by about 1 % in any number of rounds, since their weights lie at different
    places in memory.

    Parameters
    ----------
    models : ONNX files, or functions (`Timed`) for other runtimes, by the names that the results
        get.
    inputs : by batch size, arrays (N, …) by input name; each model takes the inputs that it needs.
    seed : seed of the orders and of the bootstrap.
    clock : gives nanoseconds. For models on one thread `time.thread_time_ns` leaves out the time of
        other processes.
    watch : is told of each file that is loaded and of each call, outside of the measured time.

    Raises
    ------
    DataError : a model's input is missing.
    StageError : a file can't be loaded or run, or there are no inputs for a batch size.
    """
    missing = [str(size) for size in spec.batch_sizes if size not in inputs]
    if missing:
        raise StageError(unknown("batch size of latency inputs", missing[0], map(str, inputs)))
    runs: dict[Load, dict[str, NDArray[np.float64]]] = {}
    watch = watch or Unwatched()
    with pinned(spec.threads) as notes:
        ready = {}
        for name, model in models.items():
            watch.begin(f"loading {name}")
            ready[name] = model if callable(model) else _runner(name, model, spec.threads)
            watch.end()
        for size in spec.batch_sizes:
            calls = [prepare(inputs[size]) for prepare in ready.values()]
            description = f"timing batch size {size}"
            begins = [
                partial(watch.begin, f"running {name} at batch size {size}") for name in ready
            ]
            timed = list(zip(begins, calls, strict=True))
            with (progress or Silent()).track(description, spec.rounds) as advance, no_collection():
                times = _rounds(timed, spec=spec, seed=seed, advance=advance, clock=clock)
            watch.end()
            runs[size] = dict(zip(ready, times.T / NANOSECONDS_PER_MS, strict=True))
    return Latencies(runs, seed=seed, notes=notes)


def _runner(name: str, onnx: Path, threads: int) -> Callable[[Mapping[str, NDArray[Any]]], Call]:
    opened = session(onnx, threads=threads)

    def prepare(inputs: Mapping[str, NDArray[Any]]) -> Call:
        parts = in_parts(opened, feed(opened, inputs))

        def call() -> object:
            try:
                return [opened.run(None, arrays) for arrays in parts]
            except runtime_errors() as error:
                said = f"ONNX Runtime failed while timing {name!r}{failed_at(error)}"
                raise StageError(said) from error

        return call

    return prepare


def _rounds(
    calls: Sequence[Begun],
    *,
    spec: MeasureSpec,
    seed: int,
    advance: Advance,
    clock: Clock,
) -> NDArray[np.int64]:
    """Nanoseconds of each call, (R, models)."""
    generator = np.random.default_rng(seed)
    rows: list[NDArray[np.int64]] = []
    for _ in range(spec.warmup):
        _round(calls, generator.permutation(len(calls)), clock)
    end = time.monotonic() + spec.seconds
    while len(rows) < spec.rounds or (len(rows) < MOST_ROUNDS and time.monotonic() < end):
        rows.append(_round(calls, generator.permutation(len(calls)), clock))
        if len(rows) <= spec.rounds:
            advance()
    return np.stack(rows)


def _round(calls: Sequence[Begun], order: NDArray[np.int64], clock: Clock) -> NDArray[np.int64]:
    """Nanoseconds (models,) of one call of each model. They are called in the order given."""
    row = np.zeros(len(calls), dtype=np.int64)
    for index in order:
        begin, call = calls[index]
        begin()
        start = clock()
        call()
        row[index] = clock() - start
    return row


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect garbage now, and not again inside the context.

    What is older than a few collections stays: to look through all that torch's exporter keeps
    takes a third of a second.
    """
    was_on = gc.isenabled()
    gc.collect(1)
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
