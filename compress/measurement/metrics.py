"""Quality metrics of classification, each with its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compress.errors import InputError, unknown
from compress.measurement.intervals import RESAMPLES, Interval, percentile, wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]


class Score(NamedTuple):
    """A metric's value in [0, 1], and its 95 % interval."""

    value: float
    ci95: Interval


def accuracy(predictions: Integers, labels: Integers, *, seed: int = 0) -> Score:
    """Fraction of right predictions, with Wilson's interval.

    Parameters
    ----------
    predictions, labels : class indices (N,).
    seed : not needed here.
    """
    right = int((predictions == labels).sum())
    return Score(right / len(labels), wilson(right, len(labels)))


def f1_macro(predictions: Integers, labels: Integers, *, seed: int = 0) -> Score:
    """Mean F1 of the classes that occur in labels or predictions, with a bootstrap interval.

    Parameters
    ----------
    predictions, labels : class indices (N,).
    seed : of the bootstrap over samples.
    """
    classes = int(max(predictions.max(), labels.max())) + 1
    # Samples of one cell of the confusion matrix are alike, so drawing N samples with replacement
    # is drawing the cells' counts from a multinomial: quick, and flat in memory.
    cells, counts = np.unique(labels * classes + predictions, return_counts=True)
    rows, columns = np.divmod(cells, classes)
    total = len(labels)
    draws = np.random.default_rng(seed).multinomial
    resampled = [
        _f1(rows, columns, draws(total, counts / total), classes) for _ in range(RESAMPLES)
    ]
    return Score(_f1(rows, columns, counts, classes), percentile(resampled))


def _f1(rows: Integers, columns: Integers, counts: Integers, classes: int) -> float:
    hits = np.bincount(rows, weights=counts * (rows == columns), minlength=classes)
    either = np.bincount(rows, weights=counts, minlength=classes)
    either = either + np.bincount(columns, weights=counts, minlength=classes)
    occurs = either > 0
    return float(np.mean(2 * hits[occurs] / either[occurs]))


METRICS: dict[str, Callable[..., Score]] = {"accuracy": accuracy, "f1_macro": f1_macro}


def score(metric: str, predictions: Integers, labels: Integers, *, seed: int = 0) -> Score:
    """The metric of that name.

    Raises
    ------
    InputError : there is none.
    """
    require_metric(metric, METRICS)
    return METRICS[metric](predictions, labels, seed=seed)


def require_metric(metric: str, known: Iterable[str] = tuple(METRICS)) -> None:
    """Refuse an unknown metric.

    Raises
    ------
    InputError : it isn't among the known ones.
    """
    if metric not in known:
        raise InputError(unknown("metric", metric, known))
