import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.measurement.intervals import percentile, ratio_of_medians, wilson

times = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=30)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_contains_the_proportion_and_stays_in_range(drawn):
    successes, total = drawn
    low, high = wilson(successes, total)
    assert 0 <= low <= successes / total + 1e-12
    assert successes / total - 1e-12 <= high <= 1


def test_wilson_of_a_published_example():
    # Newcombe (1998), table I: 81 of 263
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_wilson_narrows_with_samples():
    widths = [high - low for low, high in (wilson(n // 2, n) for n in (10, 100, 1000))]
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


@given(times)
@settings(max_examples=20)
def test_ratio_of_a_model_to_itself_is_exactly_one(values):
    assert ratio_of_medians(values, values, seed=0) == (1.0, 1.0)


@given(times, st.sampled_from([0.25, 2.0, 8.0]))
@settings(max_examples=20)
def test_ratio_of_scaled_times_is_exactly_the_scale(values, scale):
    slow = [value * scale for value in values]
    assert ratio_of_medians(slow, values, seed=3) == (scale, scale)


@given(times, st.integers(0, 5))
@settings(max_examples=20)
def test_ratio_stays_between_the_extremes(values, seed):
    other = values[::-1]
    low, high = ratio_of_medians(values, other, seed=seed)
    assert min(values) / max(other) <= low <= high <= max(values) / min(other)


def test_bootstrap_is_decided_by_its_seed():
    generator = np.random.default_rng(0)
    slow, fast = generator.uniform(2, 3, 40), generator.uniform(1, 2, 40)
    first = ratio_of_medians(slow, fast, seed=1)
    assert first == ratio_of_medians(slow, fast, seed=1)
    assert first != ratio_of_medians(slow, fast, seed=2)
    assert first[0] < np.median(slow) / np.median(fast) < first[1]


def test_pairing_cancels_what_slows_both():
    noise = np.random.default_rng(0).uniform(1, 10, 60)
    paired = ratio_of_medians(2 * noise, noise, seed=0)
    unpaired = ratio_of_medians(2 * noise, noise[::-1], seed=0)
    assert paired == (2, 2)
    assert unpaired[1] - unpaired[0] > 0.1


def test_percentile_takes_the_middle():
    assert percentile(range(1001)) == pytest.approx((25, 975))
