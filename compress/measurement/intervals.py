"""95 % intervals of measured values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from compress.measurement.results import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
RESAMPLES = 2000
_TOGETHER = 2_000_000
"""Number of drawn samples that are held in memory at a time."""


def wilson(successes: int, total: int) -> Interval:
    """Wilson's score interval of a proportion (Wilson, 1927). It contains the proportion."""
    from scipy.stats import binomtest

    low, high = binomtest(successes, total).proportion_ci(LEVEL, method="wilson")
    return float(low), float(high)


def percentile(values: ArrayLike) -> Interval:
    """The middle 95 % of a bootstrap's values (Efron, 1979)."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.asarray(values, dtype=float), [tail, 1 - tail])
    return float(low), float(high)


def ratio_of_medians(numerator: ArrayLike, denominator: ArrayLike, *, seed: int) -> Interval:
    """Interval of median(numerator) / median(denominator), by a bootstrap over paired rounds.

    A round is drawn with the times of both, so that slow moments of the machine cancel out.

    Parameters
    ----------
    numerator, denominator : positive times (R,) of the same rounds.
    """
    above = np.asarray(numerator, dtype=float)
    below = np.asarray(denominator, dtype=float)
    drawn = np.random.default_rng(seed).integers(len(above), size=(RESAMPLES, len(above)))
    return percentile(np.median(above[drawn], axis=1) / np.median(below[drawn], axis=1))


def resampled(count: int, *, seed: int, draws: int = RESAMPLES) -> Iterator[NDArray[np.float64]]:
    """Numbers of times that each sample is drawn if `count` are drawn with replacement.

    Parameters
    ----------
    draws : number of times that `count` samples are drawn.

    Yields
    ------
    Arrays (R, `count`) of some draws at a time, so that memory stays flat.
    """
    generator = np.random.default_rng(seed)
    together = max(1, min(draws, _TOGETHER // count))
    for start in range(0, draws, together):
        size = min(together, draws - start)
        drawn = generator.integers(count, size=(size, count))
        drawn += np.arange(size)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=size * count)
        yield weights.reshape(size, count).astype(np.float64)
