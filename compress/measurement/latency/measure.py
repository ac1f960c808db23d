"""Times several models against one another, so that noise of a shared machine hits all alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.progress import Progress, Silent
from compress.errors import StageError, unknown
from compress.measurement.affinity import pinned
from compress.measurement.child.watch import Unwatched, Watch
from compress.measurement.latency.clocks import Clock, own_clock
from compress.measurement.latency.conditions import MachineWatch
from compress.measurement.latency.results import Conditions
from compress.measurement.latency.sittings import Rounds
from compress.measurement.latency.times import PILOT, Latencies
from compress.measurement.session import failed_at, feed, in_parts, runtime_errors, session
from compress.measurement.spec import MeasureSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

Call = Callable[[], object]
Begun = tuple[Callable[[], None], Call]
"""A function that reports the beginning of a call, and the call."""
Prepare = Callable[[Mapping[str, "NDArray[Any]"]], Call]
Timed = Path | Prepare
"""An ONNX file; or, for a model without one, a function from inputs to a call that is timed."""


def measure_latency(
    models: Mapping[str, Timed],
    inputs: Mapping[int, Mapping[str, np.ndarray]],
    *,
    spec: MeasureSpec,
    progress: Progress | None = None,
    seed: int = 0,
    sittings: int = PILOT,
    clock: Clock | None = None,
    watch: Watch | None = None,
) -> Latencies:
    """Time all models side by side, for each of the spec's batch sizes.

    The process is pinned to as many CPUs as it has threads. A round runs every model once, in a new
    random order, so that disturbances of the machine hit all models alike. Rounds come in sittings:
    for each, all files are loaded anew, in a random order, since the places that weights get in
    memory make two sessions of one file differ by 1 to 2 % in any number of rounds (Kalibera and
    Jones, 2013, Rigorous benchmarking in reasonable time). Files whose loading would take most of
    the time stay loaded. A sitting begins with at most `spec.warmup` rounds that don't count.

    A batch size ends after six sittings with `spec.rounds` in all, if then the interval of each
    speedup of the first model is as narrow as `spec.precision` asks, or `spec.seconds` are over;
    otherwise further sittings follow until one of them is so. Garbage collection is off. All
    sessions are open at once, so the models must fit into memory together.

    Parameters
    ----------
    models : ONNX files, or functions (`Timed`) for other runtimes, by the names that the results
        get.
    inputs : by batch size, arrays (N, …) by input name; each model takes the inputs that it needs.
    seed : seed of the orders and of the bootstrap.
    sittings : smallest number of sittings; fewer than six are for a first look.
    clock : gives nanoseconds; None for `own_clock`.
    watch : is told of each file that is loaded and of each call, outside of the measured time.

    Raises
    ------
    DataError : a model's input is missing.
    StageError : a file can't be loaded or run, or there are no inputs for a batch size.
    """
    missing = [str(size) for size in spec.batch_sizes if size not in inputs]
    if missing:
        raise StageError(unknown("batch size of latency inputs", missing[0], map(str, inputs)))
    watch, clock = watch or Unwatched(), clock or own_clock(spec.threads)
    machine = MachineWatch.begin()
    begun = time.monotonic()
    generator = np.random.default_rng(seed)
    rounds = {
        size: Rounds(spec, models=list(models), sittings=sittings) for size in spec.batch_sizes
    }
    steps = sittings * len(rounds)
    shown = (progress or Silent()).track("timing", steps)
    with pinned(spec.threads) as notes, shown as advance, no_collection():
        desk = _Desk(models, threads=spec.threads, generator=generator, watch=watch)
        while open_sizes := [size for size, each in rounds.items() if not each.ended]:
            desk.sit(most=spec.seconds * len(rounds))
            for size in open_sizes:
                # No name here holds the calls: the models are freed before they are loaded anew.
                _sitting(
                    desk.calls(inputs[size], f"at batch size {size}"),
                    rounds[size],
                    generator=generator,
                    clock=clock,
                    opening=desk.opening / len(open_sizes),
                )
                if steps > 0:
                    steps -= 1
                    advance()
        watch.end()
    found = Latencies(
        {size: each.runs_ms for size, each in rounds.items()},
        {size: each.sittings for size, each in rounds.items()},
        seed=seed,
        notes=(*notes, *desk.notes),
    )
    return _with_conditions(found, machine, spec=spec, seconds=time.monotonic() - begun)


def _with_conditions(
    found: Latencies, machine: MachineWatch, *, spec: MeasureSpec, seconds: float
) -> Latencies:
    wide = {size: found.half_width(size) for size in found.runs_ms}
    asked = spec.precision
    noisy = tuple(str(size) for size, half in wide.items() if 0 < asked < half)
    conditions = Conditions(
        seconds=seconds,
        rounds={str(size): len(of) for size, of in found.sittings.items()},
        sittings={str(size): len(np.unique(of)) for size, of in found.sittings.items()},
        load_before=machine.load,
        busy_during=machine.others(),
        swing=max(found.swing(size) for size in found.runs_ms),
        too_noisy=noisy,
    )
    return replace(found, conditions=conditions)


class _Desk:
    """The models that take turns, opened anew for a sitting.

    Parameters
    ----------
    generator : draws the order in which they are opened.
    """

    def __init__(
        self,
        models: Mapping[str, Timed],
        *,
        threads: int,
        generator: np.random.Generator,
        watch: Watch,
    ) -> None:
        self._models, self._threads = models, threads
        self._generator, self._watch = generator, watch
        self._ready: dict[str, Prepare] = {}
        self._spent, self._times = 0.0, 0
        self.opening = 0.0
        self.notes: list[str] = []

    def sit(self, *, most: float) -> None:
        """Open all models; those that take longer than half of `most` seconds in all stay open."""
        if self._ready and self._spent * (1 + 1 / self._times) > most / 2:
            self.opening = 0.0
            if not self.notes:
                self.notes.append(
                    f"from sitting {self._times} on the models stayed in memory, since loading "
                    f"them takes {self._spent / self._times:.2g} s: their places there may make a "
                    "difference of 1 to 2 %"
                )
            return
        self._ready.clear()  # so that no model is in memory twice
        start = time.monotonic()
        names = list(self._models)
        for index in self._generator.permutation(len(names)):
            name = names[index]
            model = self._models[name]
            self._watch.begin(f"loading {name}")
            self._ready[name] = model if callable(model) else _runner(name, model, self._threads)
            self._watch.end()
        self.opening = time.monotonic() - start
        self._spent += self.opening
        self._times += 1

    def calls(self, inputs: Mapping[str, NDArray[Any]], when: str) -> list[Begun]:
        """Return each model's call on these inputs, in the order of the models."""
        return [
            (partial(self._watch.begin, f"running {name} {when}"), self._ready[name](inputs))
            for name in self._models
        ]


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


def _sitting(
    calls: Sequence[Begun],
    rounds: Rounds,
    *,
    generator: np.random.Generator,
    clock: Clock,
    opening: float,
) -> None:
    """Time one sitting's rounds.

    Parameters
    ----------
    opening : seconds that opening the models took, of this batch size's share.
    """
    rounds.sit(opening)
    while rounds.warms():
        _round(calls, generator.permutation(len(calls)), clock)
        rounds.warmed()
    while rounds.goes_on():
        rounds.add(_round(calls, generator.permutation(len(calls)), clock))


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
