"""Compares fractions of samples, of two models on the same samples."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

from compress.measurement.intervals import LEVEL
from compress.measurement.results import Interval

_EDGE = 1e-12
"""Distance from -1 and 1, where the score's variance is 0."""


class Discordant(NamedTuple):
    """Numbers of samples on which two models differ.

    Attributes
    ----------
    gained : samples for which something holds for this model alone.
    lost : samples for which it holds for the other alone.
    samples : number of all samples.
    """

    gained: int
    lost: int
    samples: int

    @property
    def change(self) -> float:
        """This model's fraction minus the other's."""
        return (self.gained - self.lost) / self.samples


def exact_p(found: Discordant) -> float:
    """Two-sided p-value of the exact test of McNemar (1947): a sign test of the discordant pairs.

    If the models are equally good, each pair is gained or lost by the toss of a coin.
    """
    from scipy.stats import binomtest

    discordant = found.gained + found.lost
    return float(binomtest(found.gained, discordant).pvalue) if discordant else 1.0


def score_interval(found: Discordant) -> Interval:
    """Score interval of a paired difference of proportions (Tango, 1998).

    It holds every difference that McNemar's score test, at that difference instead of 0, doesn't
    reject. Where the exact test sees no difference and this one does, the interval is extended to
    0, so that the two never contradict each other.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    limit = float(norm.ppf((1 + LEVEL) / 2))
    change = found.change

    def end(sign: int) -> float:
        edge = sign * (1 - _EDGE)
        if sign * change >= 1 - _EDGE:
            return float(sign)
        return float(brentq(lambda at: _score(found, at) + sign * limit, change, edge))

    low, high = end(-1), end(1)
    if exact_p(found) < 1 - LEVEL:
        return low, high
    return min(low, 0.0), max(high, 0.0)


def _score(found: Discordant, difference: float) -> float:
    """Standardised distance of the found difference from a supposed one; it falls with the latter.

    The probability of a lost sample is the likeliest under the supposed difference.
    """
    gained, lost, samples = found
    linear = (2 * samples - gained + lost) * difference - gained - lost
    constant = -lost * difference * (1 - difference)
    chance = (sqrt(max(linear**2 - 8 * samples * constant, 0.0)) - linear) / (4 * samples)
    variance = samples * (2 * chance + difference * (1 - difference))
    distance = gained - lost - samples * difference
    return distance / sqrt(variance) if variance > 0 else 0.0


def smallest_significant(found: Discordant) -> float:
    """Smallest difference that would be significant if as many samples were discordant.

    At least six must be, all of them in one direction; 1 if there are fewer samples than that.
    """
    from scipy.stats import binom

    alpha = 1 - LEVEL
    discordant = max(found.gained + found.lost, 6)
    # The largest number of pairs in the rarer direction that is still significant.
    rarer = int(binom.ppf(alpha / 2, discordant, 0.5))
    while 2 * binom.cdf(rarer, discordant, 0.5) >= alpha:
        rarer -= 1
    return min(1.0, (discordant - 2 * rarer) / found.samples)
