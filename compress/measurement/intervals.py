"""95 % intervals of what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Interval = tuple[float, float]
LEVEL = 0.95
RESAMPLES = 2000


def wilson(successes: int, total: int) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927); it contains the proportion."""
    from scipy.stats import binomtest

    low, high = binomtest(successes, total).proportion_ci(LEVEL, method="wilson")
    return float(low), float(high)


def percentile(values: ArrayLike) -> Interval:
    """The middle 95 % of a bootstrap's values (Efron 1979)."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.asarray(values, dtype=float), [tail, 1 - tail])
    return float(low), float(high)


def ratio_of_medians(numerator: ArrayLike, denominator: ArrayLike, *, seed: int) -> Interval:
    """Interval of median(numerator) / median(denominator), by a bootstrap over paired rounds.

    A round is drawn with the times of both, so slow moments that hit both cancel out.

    Parameters
    ----------
    numerator, denominator : positive times (R,) of the same rounds.
    """
    above = np.asarray(numerator, dtype=float)
    below = np.asarray(denominator, dtype=float)
    drawn = np.random.default_rng(seed).integers(len(above), size=(RESAMPLES, len(above)))
    return percentile(np.median(above[drawn], axis=1) / np.median(below[drawn], axis=1))
