"""Approaches a measured target with the help of a predicted cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUNDS = 6
_LEAST, _MOST = 0.01, 1.0


@dataclass(frozen=True)
class Approach:
    """The result of an approach to a measured target.

    Attributes
    ----------
    counts : the counts whose measured fraction is nearest to the target.
    predicted : the fraction that the search was asked for.
    measured : the fraction that was measured.
    rounds : number of measurements.
    """

    counts: list[int]
    predicted: float
    measured: float
    rounds: int


def approach(
    search: Callable[[float], list[int]],
    measure: Callable[[Sequence[int]], float],
    *,
    target: float,
    tolerance: float,
    most_rounds: int = ROUNDS,
) -> Approach:
    """Search and measure in turn, and correct the fraction asked for, until the target is met.

    The secant method corrects it: the last two rounds give the slope of the measured over the asked
    fraction. The next one stays between the nearest rounds below and above the target. The approach
    ends early if the search finds nothing new.

    Parameters
    ----------
    search : returns the counts whose predicted fraction is nearest to the one asked for.
    measure : returns the measured fraction that remains after cutting the counts.
    target : the wanted fraction.
    tolerance : largest relative distance at which the target counts as met.
    most_rounds : the largest number of measurements.
    """
    tried: list[tuple[float, float, list[int]]] = []
    asked = target
    for _ in range(most_rounds):
        counts = search(asked)
        if any(counts == old for _, _, old in tried):
            break
        tried.append((asked, measure(counts), counts))
        if abs(tried[-1][1] - target) <= tolerance * target:
            break
        asked = _corrected([(a, m) for a, m, _ in tried], target)
    asked, measured, counts = min(tried, key=lambda each: abs(each[1] - target))
    return Approach(counts, asked, measured, len(tried))


def _corrected(tried: Sequence[tuple[float, float]], target: float) -> float:
    """The fraction to ask for next, from the pairs (asked, measured) so far."""
    asked, measured = tried[-1]
    slope = 1.0
    if len(tried) > 1:
        before, there = tried[-2]
        if asked != before:
            slope = (measured - there) / (asked - before)
    # Noise can make the slope flat or steep; predictions aren't that far off.
    slope = min(max(slope, 0.4), 2.5)
    wanted = asked + (target - measured) / slope
    low = max((a for a, m in tried if m < target), default=_LEAST)
    high = min((a for a, m in tried if m > target), default=_MOST)
    if low < high and not low < wanted < high:
        wanted = (low + high) / 2
    return min(max(wanted, _LEAST), _MOST)
