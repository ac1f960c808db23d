"""McNemar's test and the score interval, against other ways to compute them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from compress.measurement.paired.mcnemar import (
    Discordant,
    exact_p,
    score_interval,
    smallest_significant,
)


def test_the_exact_test_of_a_published_example():
    # Agresti (2002), table 10.1: 150 and 86 discordant of 1600; McNemar's z is 4.17
    assert exact_p(Discordant(150, 86, 1600)) == pytest.approx(3.7e-5, rel=0.1)
    assert exact_p(Discordant(0, 5, 40)) == 2 * 0.5**5
    assert exact_p(Discordant(0, 0, 40)) == 1
    assert exact_p(Discordant(7, 7, 40)) == 1


def likeliest(found, difference):
    """The probability of a lost sample that is the likeliest, if the models differ by that."""
    gained, lost, samples = found

    def unlikely(chance):
        more, same = chance + difference, 1 - 2 * chance - difference
        return -sum(
            n * np.log(max(p, 1e-300))
            for n, p in ((gained, more), (lost, chance), (samples - gained - lost, same))
        )

    low, high = max(0, -difference), (1 - difference) / 2
    return minimize_scalar(unlikely, bounds=(low, high), options={"xatol": 1e-10}).x


@pytest.mark.parametrize("found", [(12, 3, 100), (3, 12, 100), (40, 31, 500), (9, 0, 50)])
def test_an_end_of_the_interval_is_just_rejected_by_the_score_test(found):
    found = Discordant(*found)
    for end in score_interval(found):
        lost = likeliest(found, end)
        gained = lost + end
        spread = np.sqrt((gained + lost - end**2) / found.samples)
        assert abs(found.change - end) / spread == pytest.approx(1.95996, abs=0.01)


def test_the_interval_without_discordant_samples_is_known():
    low, high = score_interval(Discordant(0, 0, 1000))
    assert -low == pytest.approx(high)
    assert high == pytest.approx(3.8415 / (1000 + 3.8415), rel=1e-3)


counts = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 400)).map(
    lambda drawn: Discordant(drawn[0], drawn[1], drawn[0] + drawn[1] + drawn[2] - 1 or 1)
)


@given(counts)
@settings(max_examples=60, deadline=None)
def test_interval_and_test_never_contradict_each_other(found):
    low, high = score_interval(found)
    assert -1 <= low <= found.change <= high <= 1
    assert (low <= 0 <= high) == (exact_p(found) >= 0.05)
    mirrored = score_interval(Discordant(found.lost, found.gained, found.samples))
    assert mirrored == pytest.approx((-high, -low), abs=1e-6)


@pytest.mark.parametrize("discordant", [0, 4, 6, 9, 25, 100, 101])
def test_the_smallest_significant_difference_is_the_smallest(discordant):
    smallest = round(smallest_significant(Discordant(discordant, 0, 1000)) * 1000)
    pairs = max(discordant, 6)
    gained = (pairs + smallest) // 2
    assert exact_p(Discordant(gained, pairs - gained, 1000)) < 0.05
    assert exact_p(Discordant(gained - 1, pairs - gained + 1, 1000)) >= 0.05


def test_too_few_samples_can_show_no_difference():
    assert smallest_significant(Discordant(0, 0, 4)) == 1
