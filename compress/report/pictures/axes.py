"""Axes of a picture: they map values to pixels, and have ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_FEW, _MANY = 2, 6


@dataclass(frozen=True)
class Tick:
    """A place along an axis, with its label."""

    place: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A range of values along a line.

    Attributes
    ----------
    low, high : the values at its ends; low < high, and both are over 0 if it is logarithmic.
    start, end : the places of these values, in pixels.
    logarithmic : whether equal distances mean equal ratios.
    whole : whether only whole numbers are written along it.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False
    whole: bool = False

    def place(self, value: float) -> float:
        """Return the place of a value, in pixels."""
        low, high, value = self._scaled(self.low), self._scaled(self.high), self._scaled(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, *, most: int = 5) -> list[Tick]:
        """Return ticks at about `most` round values in its range."""
        values = self._decades(most) if self.logarithmic else []
        if values:
            return [Tick(self.place(value), f"{value:g}") for value in values]
        step = _round_step((self.high - self.low) / most)
        step = max(1.0, step) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        first = max(first, 1) if self.logarithmic else first  # 0 has no place there
        multiples = [number * step for number in range(first, last + 1)]
        return [Tick(self.place(value), _written(value, step)) for value in multiples]

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def _decades(self, most: int) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1, 2, 5), (1, 3), (1,)):
            values = [factor * 10.0**power for power in powers for factor in factors]
            inside = [value for value in values if self.low <= value <= self.high]
            if _FEW <= len(inside) <= most + 1:
                return inside
        return []


def axis_over(
    values: Iterable[float],
    *,
    start: float,
    end: float,
    logarithmic: bool = False,
    whole: bool = False,
) -> Axis:
    """Return an axis that covers all values, with a little room at its ends.

    Parameters
    ----------
    values : finite; without any the axis goes from 0 to 1.
    logarithmic : used only if all values are over 0 and far apart.
    whole : see `Axis`.
    """
    found = list(values) or [0.0, 1.0]
    low, high = min(found), max(found)
    if logarithmic and low > 0 and high > 20 * low:
        room = (high / low) ** 0.05
        return Axis(low / room, high * room, start, end, logarithmic=True)
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # one value: some room around it
        room = abs(low) * 0.1 or 1.0
    else:
        room = 0.06 * (high - low)
    return Axis(low - room, high + room, start, end, whole=whole)


def _round_step(rough: float) -> float:
    scale = 10.0 ** math.floor(math.log10(rough))
    nearest = ((1.5, 1), (3.5, 2), (7.5, 5), (math.inf, 10))
    return next(factor * scale for most, factor in nearest if rough < most * scale)


def _written(value: float, step: float) -> str:
    """Return a value with enough digits to tell it from its neighbours."""
    if abs(value) >= 10**_MANY:
        return f"{value:.{max(3, math.ceil(math.log10(abs(value) / step)) + 1)}g}"
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text
