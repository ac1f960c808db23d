import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnxruntime.quantization.quant_utils import compute_scale_zp

from compress.quantization.calibration.mse import expected_error, least_error_range
from compress.quantization.calibration.ranges import (
    HALF_BINS,
    Histogram,
    count,
    entropy_range,
    percentile_range,
    with_zero,
)
from compress.quantization.integers import Integers

UNSIGNED, SIGNED = Integers(), Integers(activations="int8")
VALUES = arrays(
    np.float32, st.integers(1, 200), elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=True)
)
SKEWED = st.builds(
    lambda seed, tail, shift: (np.random.default_rng(seed).standard_t(tail, 3000) + shift).astype(
        np.float32
    ),
    st.integers(0, 10**6),
    st.sampled_from([2, 4, 50]),
    st.sampled_from([0.0, 1.0, -3.0]),
)


def _histogram(values):
    low, high = float(values.min()), float(values.max())
    limit = max(abs(low), abs(high))
    return Histogram(low, high, count(values, limit), int((values == 0).sum()))


def _bell(seed=0, size=20000):
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def _quantized(values, bounds, *, signed=False):
    """As QuantizeLinear and DequantizeLinear do with onnxruntime's own scale."""
    low, high = (np.float32(bound) for bound in bounds)
    kind, (least, most) = (np.int8, (-127, 127)) if signed else (np.uint8, (0, 255))
    zero, scale = compute_scale_zp(low, high, kind(least), kind(most), symmetric=signed)
    whole = np.clip(np.rint(values / scale) + float(zero), least, most)
    return (whole - float(zero)) * scale


def _error(values, bounds, **options):
    return float(((values - _quantized(values, bounds, **options)) ** 2).mean())


@settings(max_examples=20, deadline=None)
@given(VALUES, st.floats(51, 100))
def test_ranges_stay_within_what_was_seen(values, percentile):
    histogram = _histogram(values)
    for low, high in (
        percentile_range(histogram, percentile),
        entropy_range(histogram),
        least_error_range(histogram, UNSIGNED),
    ):
        low, high = with_zero((low, high))
        assert min(histogram.low, 0) <= low <= 0 <= high <= max(histogram.high, 0)


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
def test_counts_of_parts_add_up(values, cut):
    limit = float(np.abs(values).max())
    parts = sum(count(part, limit) for part in (values[:cut], values[cut:]))
    np.testing.assert_array_equal(parts, count(values, limit))
    assert parts.sum() == values.size
    # Values that are nothing beside the limit may fall on either side of 0.
    least, most = (values > 1e-6 * limit).sum(), (values >= -1e-6 * limit).sum()
    assert least <= parts[HALF_BINS:].sum() <= most


@settings(max_examples=40, deadline=None)
@given(VALUES)
def test_counts_are_those_of_numpy(values):
    limit = float(np.abs(values).max()) or 1.0
    counts = count(values, limit)
    place = np.flatnonzero(counts)
    exact = np.clip(np.floor(values.astype(np.float64) / limit * HALF_BINS), None, HALF_BINS - 1)
    # fp32 may put what is next to an edge into the bin beside it.
    for wanted in exact + HALF_BINS:
        assert np.abs(place - wanted).min() <= 1


def test_large_arrays_are_counted_in_blocks():
    values = np.linspace(-1, 1, 600_001, dtype=np.float32)
    counts = count(values, 1.0)
    assert counts.sum() == values.size
    assert counts.max() - counts.min() <= 3


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


@settings(max_examples=12, deadline=None)
@given(SKEWED, st.booleans())
def test_least_error_is_near_the_best_of_many_clips(values, signed):
    found = least_error_range(_histogram(values), SIGNED if signed else UNSIGNED)
    low, high = min(values.min(), 0), max(values.max(), 0)
    parts = np.geomspace(1, 0.03, 18)
    tried = [
        _error(values, (low * left, high * right), signed=signed)
        for left in parts
        for right in parts
    ]
    assert _error(values, with_zero(found), signed=signed) <= 1.05 * min(tried)


@settings(max_examples=25, deadline=None)
@given(SKEWED, st.floats(0.1, 1), st.floats(0.1, 1), st.booleans())
def test_expected_error_is_the_error(values, left, right, signed):
    histogram = _histogram(values)
    width = histogram.limit / HALF_BINS
    low, high = -histogram.low * left, histogram.high * right
    weights = histogram.counts.astype(float)
    found = expected_error(weights, low / width, high / width, signed=signed) * width**2
    assert found / values.size == pytest.approx(
        _error(values, (-low, high), signed=signed), rel=0.15, abs=width**2 / 4
    )


def test_least_error_clips_a_rare_outlier_but_not_a_flat_distribution():
    bell = _bell(size=10**6)
    _, high = least_error_range(_histogram(np.append(bell, np.float32(40))), UNSIGNED)
    assert 4 < high < 20
    flat = np.linspace(-1, 1, 50001, dtype=np.float32)
    assert least_error_range(_histogram(flat), UNSIGNED) == pytest.approx((-1, 1), abs=0.01)


def test_least_error_uses_both_ends_only_where_activations_are_unsigned():
    values = np.concatenate([np.abs(_bell(size=10**5)), [-50.0]]).astype(np.float32)
    unsigned, signed = (
        with_zero(least_error_range(_histogram(values), kind)) for kind in (UNSIGNED, SIGNED)
    )
    assert _error(values, unsigned) < _error(values, signed, signed=True)
    assert unsigned[0] < -signed[1]


def test_values_on_the_grid_keep_it():
    values = np.repeat(np.arange(256, dtype=np.float32) / 255, 7)
    assert least_error_range(_histogram(values), UNSIGNED) == (0, 1)


@pytest.mark.parametrize("value", [0.0, 2.5, -1e-40, 3e38])
def test_constants_keep_their_value(value):
    histogram = _histogram(np.full(5, value, np.float32))
    whole = pytest.approx((histogram.low, histogram.high))
    for kind in (UNSIGNED, SIGNED):
        assert least_error_range(histogram, kind) == whole
    assert entropy_range(histogram) == percentile_range(histogram, 99) == whole


@pytest.mark.parametrize("bounds", [(0.5, 2.0), (-3.0, -1.0), (0.0, 0.0), (-1.0, 4.0)])
def test_onnxruntime_widens_a_range_to_hold_zero_as_ours_are(bounds):
    grids = [
        compute_scale_zp(np.float32(low), np.float32(high), np.uint8(0), np.uint8(255))
        for low, high in (bounds, with_zero(bounds))
    ]
    assert grids[0] == grids[1]
