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


def median_ratio(
    numerator: ArrayLike, denominator: ArrayLike, *, seed: int
) -> tuple[float, Interval]:
    """Median of the rounds' ratios, and its interval by a bootstrap over rounds.

    A ratio is taken within a round, so that slow moments of the machine cancel out.

    Parameters
    ----------
    numerator, denominator : positive times (R,) of the same rounds.
    """
    ratios = np.asarray(numerator, dtype=float) / np.asarray(denominator, dtype=float)
    drawn = np.random.default_rng(seed).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    # Of an even number of rounds it is the geometric mean of the middle two, whichever is above.
    logs = np.log(ratios)
    low, high = percentile(np.exp(np.median(logs[drawn], axis=1)))
    return float(np.exp(np.median(logs))), (low, high)


def sequential_halves(values: ArrayLike, *, pilot: int) -> float:
    """Half the width of the interval of a mean, if more values were drawn until it was narrow.

    Student's interval is too narrow then: values that happen to lie close together end the drawing
    early. Stein's (1945, A two-sample test for a linear hypothesis whose power is independent of
    the variance) goes by the variance of the first `pilot` values alone, on which the mean of all
    doesn't depend, and holds 95 % of normal values whenever the drawing ended, if only variances
    decided on that. This is the wider of the two, so that noise that begins after the pilot counts.

    Parameters
    ----------
    values : (K,), at least `pilot` of them.
    pilot : values that are drawn in any case, 2 or more.
    """
    from scipy.stats import t

    given = np.asarray(values, dtype=float)
    scales = (
        float(t.ppf((1 + LEVEL) / 2, len(part) - 1) * part.std(ddof=1))
        for part in (given[:pilot], given)
    )
    return max(scales) / float(np.sqrt(len(given)))


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
