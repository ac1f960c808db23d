"""Measures a linear rival on the test split, by the run's metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import SAMPLE_IDS
from compress.measurement.baseline.inputs import inputs_of
from compress.measurement.baseline.rival import SECONDS, answers, call_ms, runtime, train_rival
from compress.measurement.quality import measure_answers
from compress.measurement.results import Baseline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from compress.core.artifact import Preprocessor
    from compress.core.context import Batch, Data, Loader, Task
    from compress.core.progress import Progress
    from compress.measurement.metrics.registry import Metric
    from compress.measurement.paired.kept import KeptAnswers

_BATCH = 256


@dataclass(frozen=True, eq=False)
class MeasuredBaseline:
    """A rival as it was measured, and what is kept of its answers to the test samples."""

    baseline: Baseline
    answers: KeptAnswers


def measure_baseline(  # noqa: PLR0913 (each is read by name)
    data: Data,
    preprocessor: Preprocessor,
    *,
    task: Task,
    metric: Metric,
    labels: Sequence[str],
    limit: int | None = None,
    test_data: str = "",
    seed: int = 0,
    seconds: float = SECONDS,
    progress: Progress | None = None,
) -> MeasuredBaseline | None:
    """Train the rival that fits the task, and measure it; None if none is trained for the task.

    Parameters
    ----------
    preprocessor : makes the batches whose labels are read; the rival reads raw samples.
    labels : class names in the order of the scores.
    limit : number of the test split's first samples; None: all.
    test_data : digest of these samples, kept beside the answers.
    seconds : time in which the training ends.

    Raises
    ------
    DataError : the samples aren't of a kind that a linear model is trained on.
    StageError : scikit-learn can't train on them, or the metric fails on the scores.
    """
    inputs = inputs_of(data, task)
    if inputs is None:
        return None
    rival = train_rival(inputs, classes=len(labels), seed=seed, seconds=seconds, progress=progress)
    size = data.size("test")
    samples = size if limit is None else min(limit, size)
    scores = answers(rival, inputs, samples=samples)

    def measured(given: NDArray[Any]) -> KeptAnswers:
        return measure_answers(
            lambda batch: given[_places(batch)],
            loader=_loader(data, preprocessor, samples),
            metric=metric,
            task=task,
            labels=labels,
            test_data=test_data,
        )

    kept = measured(scores)
    majority = measured(np.broadcast_to(rival.majority, scores.shape))
    baseline = Baseline(
        name=rival.name,
        quality=kept.quality,
        size_bytes=rival.size_bytes,
        call_ms=call_ms(rival, inputs),
        seconds=rival.seconds,
        runtime=runtime(),
        majority=majority.quality,
        notes=rival.notes,
    )
    return MeasuredBaseline(baseline, kept)


def _loader(data: Data, preprocessor: Preprocessor, samples: int) -> Loader:
    return data.loader("test", preprocessor, batch_size=_BATCH, limit=samples, sample_ids=True)


def _places(batch: Batch) -> NDArray[np.int64]:
    return np.asarray(batch[SAMPLE_IDS])
