"""Metrics of all scores and labels at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import IGNORED
from compress.errors import DataError, InputError
from compress.measurement.intervals import percentile
from compress.measurement.metrics.tally import Answer, Score, Share
from compress.tasks.class_metrics import TOP, in_top

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_RESAMPLES = 200
"""Number of resamples; the metric is computed anew for each."""


class Scored:
    """Keeps scores and labels of all labelled samples. The interval is a bootstrap over samples.

    Parameters
    ----------
    name : the metric's name, for messages.
    function : a function of scores (N, C) and labels: classes (N,) or sets (N, C).
    """

    def __init__(self, name: str, function: Callable[..., float]) -> None:
        self._name, self._function = name, function
        self._scores: list[NDArray[Any]] = []
        self._labels: list[NDArray[Any]] = []
        self.samples = 0

    def add(self, answer: Answer) -> None:
        """See `Tally`."""
        labels = answer.labels
        known = labels != IGNORED if labels.ndim == 1 else (labels >= 0).all(1)
        self._scores.append(answer.scores[known])
        self._labels.append(labels[known].astype(np.int64))
        self.samples += int(known.sum())

    def score(self, *, seed: int) -> Score:
        """See `Tally`; raises DataError if the labels leave nothing to judge."""
        scores, labels = np.concatenate(self._scores), np.concatenate(self._labels)
        value = self._function(scores, labels)
        if not math.isfinite(value):
            raise DataError(f"{self._name} needs samples of two classes at least.")
        random = np.random.default_rng(seed)
        drawn = []
        for _ in range(_RESAMPLES):
            at = random.integers(0, self.samples, self.samples)
            drawn.append(self._function(scores[at], labels[at]))
        draws = np.array(drawn)
        return Score(value, percentile(draws[np.isfinite(draws)]), draws=draws)


def top_accuracy(labels: Sequence[str]) -> Share:
    """Fraction of samples whose class is among the five with the highest scores.

    Raises
    ------
    InputError : there are no more classes than that.
    """
    if labels and len(labels) <= TOP:
        raise InputError(
            f"the metric 'top_{TOP}_accuracy' needs more than {TOP} classes. Got {len(labels)}."
        )

    def holds(answer: Answer) -> NDArray[np.bool_]:
        known = answer.labels != IGNORED
        return in_top(answer.scores[known], answer.labels[known].astype(np.int64))

    return Share(holds)
