"""Compares values of a metric by their bootstraps, of two models on the same resamples."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.measurement.intervals import LEVEL
from compress.measurement.results import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


def paired_bootstrap(changes: NDArray[np.floating[Any]], *, samples: int) -> tuple[Interval, float]:
    """95 % interval and two-sided p-value of a difference (Efron, 1979).

    The interval is the middle of the bootstrap's values, expanded for the number of samples as
    Student's t is wider than the normal distribution (Hesterberg, 2015). The p-value is that of the
    widest such interval without 0, so the interval has no 0 just if the p-value is below 0.05.

    Parameters
    ----------
    changes : this model's value minus the other's (R,), on each resample.
    samples : number of samples of a resample.
    """
    from scipy.stats import norm, t

    alpha = 1 - LEVEL
    if samples < 2:
        return (float(changes.min()), float(changes.max())), 1.0
    expansion = sqrt(samples / (samples - 1))
    tail = norm.cdf(t.ppf(alpha / 2, samples - 1) * expansion)
    low, high = (float(x) for x in np.quantile(changes, [tail, 1 - tail]))
    rarer = min(int((changes <= 0).sum()), int((changes >= 0).sum()))
    share = min((rarer + 1) / (len(changes) + 1), 0.5)
    p = min(1.0, 2 * float(t.cdf(norm.ppf(share) / expansion, samples - 1)))
    if p < alpha:
        return (low, high), p
    return (min(low, 0.0), max(high, 0.0)), p
