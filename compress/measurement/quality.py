"""Runs a model over labelled samples and says how well it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.core.context import Loader
from compress.core.progress import Progress, Silent
from compress.errors import DataError, StageError
from compress.measurement.intervals import Interval
from compress.measurement.metrics import require_metric, score
from compress.measurement.session import run, session

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Quality:
    """How well a model answers.

    Attributes
    ----------
    value : the metric, in [0, 1].
    ci95 : its 95 % interval.
    samples : how many it was taken over.
    predictions : class indices (N,), in the loader's order.
    """

    metric: str
    value: float
    ci95: Interval
    samples: int
    predictions: NDArray[np.int64]


def measure_quality(
    onnx: Path,
    *,
    loader: Loader,
    metric: str,
    threads: int = 1,
    progress: Progress | None = None,
    seed: int = 0,
) -> Quality:
    """A metric over a loader's batches (inputs by name, and `labels` (N,)).

    Parameters
    ----------
    metric : "accuracy" or "f1_macro".
    seed : of the bootstrap that gives the interval of f1_macro.

    Raises
    ------
    InputError : an unknown metric.
    DataError : a batch lacks an input or `labels`, or there are no samples.
    StageError : the file can't be loaded or run, or its first output isn't scores (N, C).
    """
    require_metric(metric)
    runtime = session(onnx, threads=threads)
    predictions: list[NDArray[np.int64]] = []
    labels: list[NDArray[np.int64]] = []
    with (progress or Silent()).track(f"measuring {metric}", len(loader)) as advance:
        for batch in loader:
            if "labels" not in batch:
                raise DataError(f"a batch has no 'labels'. It has: {', '.join(batch)}.")
            name, logits = next(iter(run(runtime, batch).items()))
            labels.append(np.asarray(batch["labels"], dtype=np.int64))
            predictions.append(_classes(logits, samples=len(labels[-1]), name=name, onnx=onnx))
            advance()
    if not sum(map(len, labels)):
        raise DataError("there are no samples to measure quality on.")
    predicted = np.concatenate(predictions)
    value, ci95 = score(metric, predicted, np.concatenate(labels), seed=seed)
    return Quality(metric, value, ci95, len(predicted), predicted)


def _classes(
    logits: NDArray[np.float32], *, samples: int, name: str, onnx: Path
) -> NDArray[np.int64]:
    if logits.ndim != 2 or len(logits) != samples:
        raise StageError(
            f"output {name!r} of {onnx} must be scores of shape ({samples}, classes). "
            f"Got {logits.shape}."
        )
    if not np.isfinite(logits).all():
        raise StageError(f"output {name!r} of {onnx} has scores that aren't finite numbers.")
    return np.asarray(logits.argmax(axis=1), dtype=np.int64)
