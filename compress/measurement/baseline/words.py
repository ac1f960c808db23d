"""Measures the rival of retrieval and of rankings, BM25, by the run's metric."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from compress.core.foreign.boundary import foreign
from compress.core.progress import Progress, Silent
from compress.errors import StageError
from compress.measurement.baseline.clock import Clock
from compress.measurement.baseline.matcher import KINDS, learn
from compress.measurement.baseline.measured import MeasuredBaseline
from compress.measurement.baseline.rival import SECONDS, runtime
from compress.measurement.results import Baseline

if TYPE_CHECKING:
    from compress.measurement.baseline.corpus import Corpus
    from compress.measurement.baseline.lists import Lists

_CALLS = 50
"""Calls whose median is the time of one."""


def measure_words(
    judged: Corpus | Lists, *, seconds: float = SECONDS, progress: Progress | None = None
) -> MeasuredBaseline:
    """Learn how rare the terms of documents are, and measure BM25.

    Parameters
    ----------
    judged : what it is judged on.
    seconds : time of one core in which it has learnt.

    Raises
    ------
    DataError : the documents that are searched are too many for that time.
    StageError : there are no words in them, or the metric fails on the scores.
    """
    clock = Clock(seconds)
    shown = progress or Silent()
    with (
        threadpool_limits(1),
        foreign("scikit-learn", error=StageError),
        shown.track("training the baseline", len(KINDS)) as advance,
    ):
        documents = judged.documents
        matcher, weights = learn(
            documents, len(documents), whole=judged.whole, clock=clock, advance=advance
        )
        learnt = clock.seconds
        kept = judged.measured(matcher, weights)
        times = []
        for call in judged.calls(matcher, weights, _CALLS):
            start = time.thread_time()
            call()
            times.append(time.thread_time() - start)
    said = judged.said_of_a_call.format(count=len(documents))
    baseline = Baseline(
        name=matcher.name,
        kind="word matching",
        quality=kept.quality,
        size_bytes=matcher.size_bytes,
        call_ms=float(np.median(times) * 1000),
        seconds=learnt,
        runtime=runtime(),
        majority=judged.alike().quality,
        notes=(*matcher.notes, f"{matcher.name}: {said}"),
    )
    return MeasuredBaseline(baseline, kept)
