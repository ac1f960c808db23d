"""Comes near to a measured target, by a cost that is predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUNDS = 6
_LEAST, _MOST = 0.01, 1.0


@dataclass(frozen=True)
class Approach:
    """What was found.

    Attributes
    ----------
    counts : nearest to the target.
    predicted : the fraction that the search was asked for.
    measured : the fraction that was measured.
    rounds : measurements in all.
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
    """Search, measure, and correct what the search is asked for, until the measured is near.

    The secant of the last two rounds says how the measured goes with the asked; it stays between
    the nearest rounds below and above the target. It ends where the search finds nothing new.

    Parameters
    ----------
    search : the counts whose predicted fraction is nearest to the one asked for.
    measure : the fraction that counts really leave.
    target : the fraction wanted.
    tolerance : relative distance from it that is near enough.
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
    """What to ask for next, of (asked, measured) so far."""
    asked, measured = tried[-1]
    slope = 1.0
    if len(tried) > 1:
        before, there = tried[-2]
        if asked != before:
            slope = (measured - there) / (asked - before)
    # Noise can make it flat or steep; the predicted isn't that far off.
    slope = min(max(slope, 0.4), 2.5)
    wanted = asked + (target - measured) / slope
    low = max((a for a, m in tried if m < target), default=_LEAST)
    high = min((a for a, m in tried if m > target), default=_MOST)
    if low < high and not low < wanted < high:
        wanted = (low + high) / 2
    return min(max(wanted, _LEAST), _MOST)
