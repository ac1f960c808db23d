"""A table of measured operators, interpolated between widths that are alike to the kernels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from compress.pruning.cost.latency.operators import Attended, Operator

ALIGNMENTS = (16, 8, 4, 2, 1)
"""Widths are alike that are multiples of the same of these; kernels work on so many at once."""
_OF_EACH = 4
_HEADS = 12

Shares = Callable[[Sequence[Operator]], Sequence[float]]
"""Times operators: the latency of each as a fraction of the whole model's."""


class LatencyTable:
    """Latency of operators at any width, from some that are timed.

    Parameters
    ----------
    ranges : of each operator at full width, the least widths that it may come to.
    shares : times operators.
    """

    def __init__(
        self, ranges: Iterable[tuple[Operator, tuple[int, int]]], *, shares: Shares
    ) -> None:
        self._axes: dict[Operator, tuple[list[int], list[int]]] = {}
        for operator, least in ranges:
            template = operator.resized(0, 0)
            heads = isinstance(operator, Attended)
            grid = (
                axis(least[0], operator.sizes[0], every=heads),
                axis(least[1], operator.sizes[1]),
            )
            old = self._axes.get(template, ([], []))
            self._axes[template] = (
                sorted({*old[0], *grid[0]}),
                sorted({*old[1], *grid[1]}),
            )
        operators = [
            template.resized(first, second)
            for template, (firsts, seconds) in self._axes.items()
            for first in firsts
            for second in seconds
        ]
        self.timed = len(operators)
        self._known = dict(zip(operators, shares(operators), strict=True))

    def share(self, operator: Operator) -> float:
        """The latency of an operator as a fraction of the whole model's."""
        if operator not in self._known:
            self._known[operator] = self._interpolated(operator)
        return self._known[operator]

    def _interpolated(self, operator: Operator) -> float:
        template = operator.resized(0, 0)
        first, second = operator.sizes
        firsts = _alike(self._axes[template][0], first)
        seconds = _alike(self._axes[template][1], second)
        columns = [
            np.interp(
                second, seconds, [self._known[template.resized(one, other)] for other in seconds]
            )
            for one in firsts
        ]
        return float(np.interp(first, firsts, columns))


def axis(least: int, most: int, *, every: bool = False) -> list[int]:
    """The widths that are timed: the two ends, and a few of each alignment between them.

    Parameters
    ----------
    every : all of them, where they are few.
    """
    if every and most - least < _HEADS:
        return list(range(least, most + 1))
    step = max(step for step in ALIGNMENTS[1:] if step == 1 or most >= 4 * step)
    found = {least, most}
    multiples = range(-(-least // step) * step, most + 1, step)
    for alignment in ALIGNMENTS:
        alike = [width for width in multiples if _alignment(width) == alignment]
        places = np.linspace(0, len(alike) - 1, min(len(alike), _OF_EACH)).round().astype(int)
        found.update(alike[place] for place in places)
    return sorted(found)


def _alignment(width: int) -> int:
    return next(each for each in ALIGNMENTS if width % each == 0)


def _alike(widths: Sequence[int], width: int) -> list[int]:
    """The nearest two of the widths that are aligned as this one is; of all where it is outside."""
    alike = [each for each in widths if _alignment(each) == _alignment(width)]
    if not alike or not alike[0] <= width <= alike[-1]:
        alike = list(widths)
    place = bisect_left(alike, width)
    return alike[max(place - 1, 0) : place + 1]
