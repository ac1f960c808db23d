"""Measures the rival that fits a task on the test split, by the run's metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import SAMPLE_IDS
from compress.data.dataset import Dataset
from compress.data.fields.dataset import TaskData
from compress.measurement.baseline.corpus import Corpus, has_corpus
from compress.measurement.baseline.inputs import inputs_of
from compress.measurement.baseline.lists import Lists
from compress.measurement.baseline.measured import MeasuredBaseline
from compress.measurement.baseline.rival import SECONDS, answers, call_ms, runtime, train_rival
from compress.measurement.baseline.words import measure_words
from compress.measurement.quality import measure_answers
from compress.measurement.results import Baseline, RivalKind
from compress.tasks.texts.ranking import TextRanking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from compress.core.artifact import Preprocessor
    from compress.core.context import Batch, Data, Loader, Task
    from compress.core.progress import Progress
    from compress.measurement.metrics.registry import Metric
    from compress.measurement.paired.kept import KeptAnswers

_BATCH = 256


def rival_of(data: Data, task: Task, metric: Metric) -> RivalKind | None:
    """The kind of rival that fits a task and its metric; None if there is none.

    Raises
    ------
    DataError : the samples are larger than a linear model should be given, or not alike.
    """
    if _is_searched(data, task, metric):
        return "word matching"
    return None if inputs_of(data, task) is None else "linear model"


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
    """Train the rival that fits the task, and measure it; None if there is none for the task.

    Parameters
    ----------
    preprocessor : makes the batches whose labels are read; the rival reads raw samples.
    labels : class names in the order of the scores.
    limit : number of the test split's first samples; None: all.
    test_data : digest of these samples, kept beside the answers.
    seconds : time in which the training ends.

    Raises
    ------
    DataError : the samples aren't of a kind that a linear model is trained on, or the documents are
        too many.
    StageError : scikit-learn can't train on them, or the metric fails on the scores.
    """
    if _is_searched(data, task, metric):
        judged = _searched(
            data, preprocessor, task=task, metric=metric, limit=limit, test_data=test_data
        )
        return measure_words(judged, seconds=seconds, progress=progress)
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


def _is_searched(data: Data, task: Task, metric: Metric) -> bool:
    """Whether documents are found for queries."""
    if isinstance(data, TaskData):
        return isinstance(task, TextRanking)
    return isinstance(data, Dataset) and has_corpus(data, metric)


def _searched(
    data: Data,
    preprocessor: Preprocessor,
    *,
    task: Task,
    metric: Metric,
    limit: int | None,
    test_data: str,
) -> Corpus | Lists:
    if isinstance(data, Dataset):
        return Corpus(data, metric, limit=limit, test_data=test_data)
    if not isinstance(data, TaskData):
        raise TypeError(f"{type(data).__name__} has no queries with documents.")
    return Lists(
        data,
        metric,
        task=task,
        preprocessor=preprocessor,
        limit=limit,
        test_data=test_data,
    )


def _loader(data: Data, preprocessor: Preprocessor, samples: int) -> Loader:
    return data.loader("test", preprocessor, batch_size=_BATCH, limit=samples, sample_ids=True)


def _places(batch: Batch) -> NDArray[np.int64]:
    return np.asarray(batch[SAMPLE_IDS])
