"""Measures INT8 candidates against their float model, and keeps the fastest that is good enough."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.progress import Progress, Silent
from compress.measurement.generation.decoder import OnnxDecoder
from compress.measurement.generation.speed import (
    LEAST_ROUNDS,
    Passage,
    can_generate,
    time_generation,
)
from compress.measurement.latency.clocks import own_clock, process_clock
from compress.measurement.latency.measure import Timed, measure_latency
from compress.measurement.latency.times import PILOT, Latencies
from compress.measurement.quality import Reference, measure_quality
from compress.measurement.results import (
    NOISE,
    Evaluation,
    Interval,
    Latency,
    Quality,
    Speedup,
    at,
    slower,
)
from compress.measurement.runtimes.names import ONNXRUNTIME, Runtime
from compress.measurement.runtimes.openvino import OpenVinoModel, timed
from compress.measurement.session import run, session
from compress.measurement.size import size_bytes
from compress.measurement.spec import MeasureSpec

if TYPE_CHECKING:
    import numpy as np

    from compress.core.context import Loader, Task
    from compress.quantization.options import EvaluationOptions

_WARMUP = 3
_FEW_ROUNDS = 3
_FEW_SECONDS = 0.2
FLOAT = "float"
"""Name of the float model among its candidates."""


@dataclass(frozen=True)
class Candidate:
    """An INT8 file that could become the result.

    Attributes
    ----------
    name : description, such as "static, mse, QDQ".
    path : the file.
    notes : the choices made in building it.
    """

    name: str
    path: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pace:
    """The speedups of a candidate over the float model, from few rounds.

    Attributes
    ----------
    speedups : the speedup and its 95 % interval, by batch size or part of generating text.
    """

    speedups: Mapping[str, tuple[float, Interval]]

    @property
    def value(self) -> float:
        """Geometric mean of the speedups."""
        return self._mean([value for value, _ in self.speedups.values()])

    @property
    def low(self) -> float:
        """Geometric mean of the lower ends."""
        return self._mean([low for _, (low, _) in self.speedups.values()])

    @property
    def high(self) -> float:
        """Geometric mean of the upper ends."""
        return self._mean([high for _, (_, high) in self.speedups.values()])

    @property
    def never_slower(self) -> bool:
        """Whether it is at no batch size slower than the float model by more than noise.

        Prefill and decoding are parts of one answer, and may pay for one another.
        """
        return not any(
            load.isdigit() and slower(value, ci95) for load, (value, ci95) in self.speedups.items()
        )

    def __str__(self) -> str:
        return ", ".join(f"{x:.2f}x {at(load)}" for load, (x, _) in self.speedups.items())

    def _mean(self, values: Sequence[float]) -> float:
        return float(prod(values) ** (1 / len(values)))


@dataclass
class Evaluator:
    """Compares candidates with one float model, all on the same samples.

    Parameters
    ----------
    source : the float model.
    loader : labelled samples that decide quality, in order.
    metric, task, labels : see `measure_quality`.
    inputs : inputs for timing by batch size: arrays (N, …) by input name.
    options : sizes of the evaluation.
    budget : the largest `Evaluation.loss` that is allowed.
    text : a text that the models are timed with, as they generate; None to time batches.
    threads : number of threads of the sessions that measure quality.
    exact : whether these have exact 8-bit products, as on the CPUs that a file is made for.
    runtime : the runtime that all candidates and the float model are run in.
    """

    source: Path
    loader: Loader
    metric: str
    task: Task
    labels: Sequence[str]
    inputs: Mapping[int, Mapping[str, np.ndarray]]
    options: EvaluationOptions
    budget: float
    text: Passage | None = None
    threads: int = 1
    exact: bool = False
    progress: Progress = field(default_factory=Silent)
    runtime: Runtime = ONNXRUNTIME
    _qualities: dict[Path, Quality] = field(default_factory=dict)
    _running: set[Path] = field(default_factory=set)

    def try_out(self, path: Path) -> None:
        """Run a file once on the inputs of each batch size, and on a text.

        Raises
        ------
        StageError : the runtime can't load or run it.
        """
        if path in self._running:
            return
        answer = self._answering(path)
        for inputs in self.inputs.values():
            answer(inputs)
        if self.text is not None:
            can_generate(OnnxDecoder(path, threads=self.threads), self.text)
        self._running.add(path)

    def quality(self, path: Path) -> Quality:
        """The quality of a file, which is measured once."""
        if path not in self._qualities:
            self._qualities[path] = measure_quality(
                path if self.runtime == ONNXRUNTIME else self._answering(path),
                loader=self.loader,
                metric=self.metric,
                task=self.task,
                labels=self.labels,
                reference=Reference(self.source),
                threads=self.threads,
                progress=self.progress,
                exact=self.exact,
            )
        return self._qualities[path]

    def loss(self, path: Path) -> float:
        """The loss of quality of a file compared with the float model; negative if it is better.

        It is the absolute difference of the metric; the relative one where lower is better, as for
        perplexity.
        """
        own, wanted = self.quality(path), self.quality(self.source)
        if wanted.higher_is_better:
            return wanted.value - own.value
        return own.value / wanted.value - 1 if wanted.value else own.value

    def fits(self, path: Path) -> bool:
        """Return whether a file's loss is within the budget, as far as the samples can tell.

        With few samples, one sample alone can exceed the budget; a loss of one sample is allowed.
        """
        return self.loss(path) <= max(self.budget, 1 / self.quality(path).samples) + 1e-12

    def paces(self, paths: Iterable[Path]) -> dict[Path, Pace]:
        """The speedups of files over the float model in a few rounds."""
        named = {str(path): path for path in paths}
        few = MeasureSpec(
            batch_sizes=self.options.batch_sizes,
            threads=self.options.threads,
            warmup=1,
            seconds=min(_FEW_SECONDS, self.options.seconds),
        ).model_copy(update={"rounds": _FEW_ROUNDS})  # fewer than a measurement for a report needs
        times = self._timed(named, few, sittings=1)
        return {
            path: Pace({str(load): times.speedup(load, name, over=FLOAT) for load in times.runs_ms})
            for name, path in named.items()
        }

    def judge(self, candidates: Sequence[Candidate]) -> list[Evaluation]:
        """Evaluations of the float model and then of each candidate, timed in the same rounds."""
        own = Candidate(FLOAT, self.source)
        times = self._time(candidates)
        return [
            Evaluation(
                name=each.name,
                quality=self.quality(each.path),
                loss=self.loss(each.path),
                fits=self.fits(each.path),
                chosen=False,
                latency_ms=times[each.name][0],
                speedup=times[each.name][1],
                size_bytes=size_bytes(each.path),
                notes=each.notes,
            )
            for each in (own, *candidates)
        ]

    def _time(
        self, candidates: Iterable[Candidate]
    ) -> dict[str, tuple[dict[str, Latency], dict[str, Speedup]]]:
        options, candidates = self.options, list(candidates)
        times = self._timed(
            {each.name: each.path for each in candidates},
            MeasureSpec(
                batch_sizes=options.batch_sizes,
                threads=options.threads,
                rounds=options.rounds,
                warmup=_WARMUP,
                seconds=options.seconds,
            ),
        )
        loads = list(times.runs_ms)
        return {
            name: (
                {str(load): times.latency(load, name) for load in loads},
                {str(load): Speedup(*times.speedup(load, name, over=FLOAT)) for load in loads},
            )
            for name in (FLOAT, *(each.name for each in candidates))
        }

    def _timed(
        self, given: Mapping[str, Path], spec: MeasureSpec, *, sittings: int = PILOT
    ) -> Latencies:
        files = {FLOAT: self.source, **given}
        if self.text is not None:
            return time_generation(
                {name: OnnxDecoder(path, threads=spec.threads) for name, path in files.items()},
                self.text,
                rounds=min(spec.rounds, LEAST_ROUNDS),
                seconds=spec.seconds,
                threads=spec.threads,
                progress=self.progress,
            )
        if self.runtime == ONNXRUNTIME:
            models: dict[str, Timed] = dict(files)
            clock = own_clock(spec.threads)
        else:
            models = {name: timed(file, threads=spec.threads) for name, file in files.items()}
            clock = process_clock(spec.threads)
        return measure_latency(
            models,
            self.inputs,
            spec=spec,
            progress=self.progress,
            sittings=sittings,
            clock=clock,
        )

    def _answering(self, path: Path) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        if self.runtime != ONNXRUNTIME:
            return OpenVinoModel(path, threads=self.threads).run
        return partial(run, session(path, threads=self.threads))


def fastest(evaluations: Sequence[Evaluation]) -> Evaluation | None:
    """The fastest candidate that fits; it must be faster than earlier ones by more than `NOISE`.

    A candidate that is slower than the float model at one of the batch sizes is taken only if all
    that fit are.

    Returns
    -------
    None if no candidate fits.
    """
    fitting = [each for each in evaluations if each.fits]
    best: Evaluation | None = None
    for each in [each for each in fitting if not each.slow_batches] or fitting:
        if best is None or each.pace > best.pace * (1 + NOISE):
            best = each
    return best


def record(evaluations: Sequence[Evaluation], *, chosen: Candidate) -> str:
    """The text of candidates.json, which the report shows."""
    marked = [replace(each, chosen=each.name == chosen.name) for each in evaluations]
    plain = {"schema": 1, "candidates": [asdict(each) for each in marked]}
    return json.dumps(plain, indent=2) + "\n"
