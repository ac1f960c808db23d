"""Ranges of activations from their histograms.

A histogram has an even number of bins over [-limit, limit], where `limit` is the largest absolute
value seen; its second half thus belongs to zero and the positive values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Range = tuple[float, float]
Counts = NDArray[np.int64]

HALF_BINS = 8192
ENTROPY_BINS = 2048  # of absolute values, as published
LEVELS = 128  # of a quantized absolute value, as in 8 bits with a sign
STRIDE = 8  # bins between two candidates of the entropy search
SMOOTHING = 1e-4  # share of the quantized distribution spread over all bins
_BLOCK = 2**18  # values counted at once, so that temporary arrays stay small and in the cache


@dataclass(frozen=True)
class Histogram:
    """The histogram of the values of one tensor.

    Attributes
    ----------
    low, high : the least and the largest value.
    counts : (2 * HALF_BINS,) values per bin over [-limit, limit].
    zeros : number of values that are exactly 0, which lie on every grid.
    """

    low: float
    high: float
    counts: Counts
    zeros: int = 0

    @property
    def limit(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    @property
    def constant(self) -> bool:
        """True if there is at most one distinct value, so that clipping can't help."""
        return self.low == self.high or not self.counts.any()


def count(values: NDArray[np.float32], limit: float) -> Counts:
    """The histogram's counts of some values; counts of parts can be added.

    Values are finite and within [-limit, limit]; if `limit` is 0, all are in bin HALF_BINS.
    """
    counts = np.zeros(2 * HALF_BINS, np.int64)
    flat = values.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        # Division first: 1 / limit isn't finite where the limit is subnormal.
        scaled = flat[start : start + _BLOCK] / np.float32(limit or 1.0)
        scaled *= HALF_BINS
        bins = np.floor(scaled, out=scaled).astype(np.intp)
        bins += HALF_BINS
        np.minimum(bins, 2 * HALF_BINS - 1, out=bins)
        counts += np.bincount(bins, minlength=2 * HALF_BINS)
    return counts


def with_zero(bounds: Range) -> Range:
    """The range widened to hold 0, as every 8-bit grid must (padding, masks, ReLU)."""
    return min(bounds[0], 0.0), max(bounds[1], 0.0)


def percentile_range(histogram: Histogram, percentile: float) -> Range:
    """The range that leaves out the same share of values at both ends, `100 - percentile` in all.

    It is never wider than the values seen.
    """
    if histogram.constant:
        return histogram.low, histogram.high
    total = int(histogram.counts.sum())
    cut = (100.0 - percentile) / 200.0 * total
    edges = np.linspace(-histogram.limit, histogram.limit, 2 * HALF_BINS + 1)
    below = np.concatenate([[0], np.cumsum(histogram.counts)])
    low = edges[np.searchsorted(below, cut, side="right") - 1]
    high = edges[np.searchsorted(below, total - cut, side="left")]
    return within(histogram, float(low), float(high))


def entropy_range(histogram: Histogram) -> Range:
    """The symmetric clip whose quantization keeps most information about the values.

    The threshold t is the one at which the distribution of |x| clipped at t diverges least
    (Kullback-Leibler) from the same distribution in 128 levels. Migacz, "8-bit Inference with
    TensorRT", GTC 2017.
    """
    if histogram.constant:
        return histogram.low, histogram.high
    fine = histogram.counts[HALF_BINS:] + histogram.counts[:HALF_BINS][::-1]
    absolute = fine.reshape(ENTROPY_BINS, -1).sum(axis=1)
    # Exact zeros (ReLU) have no error in any range, and would outweigh all other values.
    absolute[0] = absolute[1]
    candidates = [*range(LEVELS, ENTROPY_BINS, STRIDE), ENTROPY_BINS]
    divergences = [_divergence(absolute, bins) for bins in candidates]
    best = candidates[int(np.argmin(divergences))]
    threshold = histogram.limit * best / ENTROPY_BINS
    return within(histogram, -threshold, threshold)


def _divergence(absolute: Counts, bins: int) -> float:
    """KL(p || q): p are the counts clipped to their first `bins`; q are these in LEVELS levels."""
    kept = absolute[:bins].astype(np.float64)
    clipped = kept.copy()
    clipped[-1] += absolute[bins:].sum()
    level = np.arange(bins) * LEVELS // bins
    seen = kept > 0
    in_level = np.bincount(level, weights=kept, minlength=LEVELS)
    bins_seen = np.bincount(level, weights=seen, minlength=LEVELS)
    spread = in_level / np.maximum(bins_seen, 1)
    quantized = np.where(seen, spread[level], 0.0)
    if not kept.any():
        return float("inf")
    # Every bin gets a share of the total. Otherwise a single outlier that is clipped into an empty
    # bin would make the divergence infinite, and only the whole range would be possible.
    p = clipped / clipped.sum()
    q = (1 - SMOOTHING) * quantized / quantized.sum() + SMOOTHING / bins
    filled = p > 0
    return float((p[filled] * np.log(p[filled] / q[filled])).sum())


def within(histogram: Histogram, low: float, high: float) -> Range:
    """The part of [low, high] that the values reach."""
    return max(histogram.low, low), min(histogram.high, high)
