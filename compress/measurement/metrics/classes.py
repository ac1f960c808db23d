"""Metrics of models that predict one class or a set of classes for a sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from compress.core.batch import IGNORED
from compress.measurement.intervals import percentile
from compress.measurement.metrics.tally import (
    Answer,
    Score,
    Share,
    Sums,
    bootstrapped,
    f1,
    f1_of_classes,
    share,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.measurement.metrics.tally import Floats, Integers


def accuracy(predictions: Integers, labels: Integers, *, seed: int = 0) -> Score:
    """Fraction of correct predictions, with Wilson's interval.

    Parameters
    ----------
    predictions, labels : class indices (N,).
    seed : unused here.
    """
    return share(predictions == labels)


def f1_macro(predictions: Integers, labels: Integers, *, seed: int = 0) -> Score:
    """Mean F1 of the classes that occur in labels or predictions, with a bootstrap interval.

    Parameters
    ----------
    predictions, labels : class indices (N,).
    seed : seed of the bootstrap over samples.
    """
    from scipy.sparse import csr_array

    samples, classes = len(labels), int(max(predictions.max(), labels.max())) + 1
    # Each sample counts among the hits of its class, if it is one, the predicted, and the labelled.
    hits, every = np.flatnonzero(predictions == labels), np.arange(samples)
    at = np.concatenate([hits, every, every])
    columns = np.concatenate([labels[hits], predictions + classes, labels + 2 * classes])
    rows = csr_array((np.ones(len(at)), (at, columns)), shape=(samples, 3 * classes))
    value = float(f1_of_classes(np.asarray(rows.sum(axis=0)).reshape(1, -1))[0])
    draws = bootstrapped(rows, f1_of_classes, seed=seed)
    return Score(value, percentile(draws), draws=draws)


class Classes:
    """Keeps the predicted class of each labelled sample, for a function of all of them.

    Parameters
    ----------
    function : a function of predictions and labels (N,), such as `accuracy`.
    """

    def __init__(self, function: Callable[..., Score]) -> None:
        self._function = function
        self._predictions: list[Integers] = []
        self._labels: list[Integers] = []
        self.samples = 0

    def add(self, answer: Answer) -> None:
        """See `Tally`."""
        labels = answer.labels.astype(np.int64)
        known = labels != IGNORED
        self._predictions.append(answer.scores.argmax(1)[known])
        self._labels.append(labels[known])
        self.samples += int(known.sum())

    def score(self, *, seed: int) -> Score:
        """See `Tally`."""
        predictions, labels = np.concatenate(self._predictions), np.concatenate(self._labels)
        return self._function(predictions, labels, seed=seed)


def class_agreement() -> Share:
    """Fraction of samples for which model and reference predict the same class."""
    return Share(lambda answer: answer.scores.argmax(1) == answer.wanted.scores.argmax(1))


def set_agreement() -> Share:
    """Fraction of samples for which model and reference predict the same set of classes."""
    return Share(lambda answer: ((answer.scores > 0) == (answer.wanted.scores > 0)).all(1))


def set_f1_micro() -> Sums:
    """F1 over all (sample, class) pairs together."""

    def rows(answer: Answer) -> Floats:
        said, labels = _sets(answer)
        return np.stack([(said & labels).sum(1), said.sum(1), labels.sum(1)], axis=1)

    return Sums(rows, f1)


def set_f1_macro() -> Sums:
    """Mean F1 of the classes that occur in labels or answers."""

    def rows(answer: Answer) -> Floats:
        said, labels = _sets(answer)
        return np.concatenate([said & labels, said, labels], axis=1).astype(np.float64)

    return Sums(rows, f1_of_classes)


def _sets(answer: Answer) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Predicted classes (score > 0, which is a probability > 1/2), and labels; both (M, C)."""
    known = (answer.labels >= 0).all(1)
    return answer.scores[known] > 0, answer.labels[known] > 0
