import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from compress.quantization.ranges import (
    HALF_BINS,
    Histogram,
    count,
    entropy_range,
    percentile_range,
)

VALUES = arrays(
    np.float32, st.integers(1, 200), elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
)


def _histogram(values):
    low, high = float(values.min()), float(values.max())
    limit = max(abs(low), abs(high))
    counts = count(values, limit) if limit > 0 else np.zeros(2 * HALF_BINS, np.int64)
    return Histogram(low, high, counts)


def _bell(seed=0, size=20000):
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(VALUES, st.floats(51, 100))
def test_ranges_stay_within_what_was_seen(values, percentile):
    histogram = _histogram(values)
    for low, high in (percentile_range(histogram, percentile), entropy_range(histogram)):
        assert histogram.low <= low <= high <= histogram.high


@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_all_percent_is_the_whole_range(values):
    histogram = _histogram(values)
    width = histogram.limit / HALF_BINS
    low, high = percentile_range(histogram, 100)
    assert low == pytest.approx(histogram.low, abs=1.01 * width)
    assert high == pytest.approx(histogram.high, abs=1.01 * width)


@settings(max_examples=40, deadline=None)
@given(VALUES, st.integers(1, 199))
def test_counts_of_batches_add_up(values, cut):
    limit = float(np.abs(values).max())
    if limit > 0:
        parts = sum(count(part, limit) for part in (values[:cut], values[cut:]))
        np.testing.assert_array_equal(parts, count(values, limit))


@pytest.mark.parametrize("percentile", [90, 99, 99.9])
def test_a_percentile_keeps_its_share(percentile):
    values = np.concatenate([_bell(), [30.0]]).astype(np.float32)
    low, high = percentile_range(_histogram(values), percentile)
    outside = (100 - percentile) / 200
    width = 30 / HALF_BINS
    assert low == pytest.approx(np.quantile(values, outside), abs=3 * width)
    assert high == pytest.approx(np.quantile(values, 1 - outside), abs=3 * width)


def test_entropy_cuts_outliers_off_but_not_the_bell():
    low, high = entropy_range(_histogram(np.append(_bell(), np.float32(100))))
    assert 2.5 < high < 25
    assert low <= -2.5


def test_entropy_leaves_a_flat_distribution_whole():
    values = np.linspace(-1, 1, 50001, dtype=np.float32)
    low, high = entropy_range(_histogram(values))
    assert (low, high) == pytest.approx((-1, 1), abs=0.02)


def test_entropy_does_not_count_exact_zeros():
    bell = np.abs(_bell())
    sparse = np.concatenate([bell, np.zeros(10 * bell.size, np.float32)])
    _, high = entropy_range(_histogram(sparse))
    assert high == pytest.approx(entropy_range(_histogram(bell))[1], rel=0.1)


def test_a_tensor_of_zeros_has_an_empty_range():
    histogram = _histogram(np.zeros(5, np.float32))
    assert entropy_range(histogram) == percentile_range(histogram, 99) == (0, 0)
