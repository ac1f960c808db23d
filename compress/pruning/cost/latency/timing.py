"""Times operators alone, in the same rounds as the whole model that they come from."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.core.progress import Progress
from compress.measurement.latency import Clock, measure_latency
from compress.measurement.size import size_bytes
from compress.measurement.spec import MeasureSpec
from compress.pruning.cost.latency.operators import (
    Nothing,
    Operator,
    operator_model,
    times_in_a_model,
)
from compress.pruning.cost.latency.options import LatencyOptions

_ROUNDS, _WARMUP = 15, 2
_TOGETHER = 150
_LEAST_TOGETHER, _MOST_TOGETHER = 2**24, 2**28
"""Operators that are open at once, and bytes of their weights: as many as the whole model has, so
that they come out of the same cache as in the model, within these."""
_FLOAT_BYTES = 4
_WHOLE, _NOTHING = "whole", "nothing"


def operator_shares(
    operators: Sequence[Operator],
    *,
    whole: Path,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    options: LatencyOptions,
    progress: Progress,
) -> list[float]:
    """The latency of each operator as a fraction of that of a whole model, without the call's own.

    Parameters
    ----------
    operators : to time, each once.
    whole : ONNX file of the whole model; it runs in every round.
    inputs : of the whole model.

    Raises
    ------
    StageError : the runtime refuses an operator or the model.
    """
    spec = MeasureSpec(
        batch_sizes=(options.batch_size,),
        threads=options.threads,
        rounds=_ROUNDS,
        warmup=_WARMUP,
        seconds=1e-3,
    )
    shares: list[float] = []
    most = min(max(size_bytes(whole), _LEAST_TOGETHER), _MOST_TOGETHER)
    with progress.track("timing operators", len(operators)) as advance:
        for some in _together(operators, most=most):
            shares += _timed(some, whole=whole, inputs=inputs, spec=spec)
            advance(len(some))
    return shares


def clock_for(threads: int) -> Clock:
    """The time that a thread works, where there is one: other processes' turns don't count then.

    On a busy machine long calls are interrupted, and short ones hardly ever.
    """
    return time.thread_time_ns if threads == 1 else time.perf_counter_ns


def _timed(
    operators: Sequence[Operator],
    *,
    whole: Path,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    spec: MeasureSpec,
) -> list[float]:
    (size,) = spec.batch_sizes
    arrays = dict(inputs)
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        models = {_WHOLE: whole}
        named = {_NOTHING: Nothing(), **{f"operator{n}": each for n, each in enumerate(operators)}}
        for name, operator in named.items():
            model, shapes = operator_model(operator, prefix=name)
            arrays |= {
                key: generator.standard_normal(shape, dtype=np.float32)
                for key, shape in shapes.items()
            }
            models[name] = Path(folder) / f"{name}.onnx"
            models[name].write_bytes(model.SerializeToString())
        times = measure_latency(models, {size: arrays}, spec=spec, clock=clock_for(spec.threads))
    medians = {name: times.latency(size, name).p50 for name in models}
    call = medians[_NOTHING]
    return [
        max(medians[name] - call, 0.0) / times_in_a_model(operator) / (medians[_WHOLE] - call)
        for name, operator in named.items()
        if name != _NOTHING
    ]


def _together(operators: Sequence[Operator], *, most: int) -> Iterator[list[Operator]]:
    some: list[Operator] = []
    held = 0
    for operator in operators:
        own = _FLOAT_BYTES * operator.weights * times_in_a_model(operator)
        if some and (len(some) == _TOGETHER or held + own > most):
            yield some
            some, held = [], 0
        some.append(operator)
        held += own
    if some:
        yield some
