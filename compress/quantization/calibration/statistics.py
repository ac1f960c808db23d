"""Statistics of activations: a few numbers and one histogram for each tensor.

Their size doesn't depend on the number of samples. They are exact (extremes and whole numbers), so
that the order of the samples doesn't matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from compress.errors import StageError
from compress.quantization.calibration.ranges import HALF_BINS, Counts, Range, count

if TYPE_CHECKING:
    from compress.quantization.calibration.samples import Array

# A finite fp32 number times this is a whole number, and finite in fp64: 2^-149 is the least
# subnormal fp32 number.
_WHOLE = 2.0**149


@dataclass(frozen=True)
class Extremes:
    """Least and largest values of one tensor.

    Attributes
    ----------
    low, high : the extremes over all samples.
    low_total, high_total : exact sums of each sample's extremes, in units of 2^-149.
    count : number of samples for which the tensor wasn't empty.
    """

    low: float
    high: float
    low_total: int
    high_total: int
    count: int

    @property
    def limit(self) -> float:
        """The largest absolute value."""
        return max(abs(self.low), abs(self.high))

    @property
    def mean(self) -> Range:
        """The means of the samples' least and largest values, correctly rounded."""
        units = self.count * int(_WHOLE)
        return self.low_total / units, self.high_total / units


def widen(seen: dict[str, Extremes], values: Mapping[str, Array]) -> None:
    """Update the extremes with one sample's activations.

    Raises
    ------
    StageError : a value isn't finite.
    """
    for name, array in values.items():
        if not array.size:
            continue
        low, high = float(array.min()), float(array.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise StageError(
                f"the float model's activation {name!r} isn't finite on the calibration samples "
                f"(between {low} and {high}); it can't be quantized."
            )
        own = Extremes(low, high, int(low * _WHOLE), int(high * _WHOLE), 1)
        seen[name] = _joined(seen[name], own) if name in seen else own


def _joined(first: Extremes, second: Extremes) -> Extremes:
    return Extremes(
        low=min(first.low, second.low),
        high=max(first.high, second.high),
        low_total=first.low_total + second.low_total,
        high_total=first.high_total + second.high_total,
        count=first.count + second.count,
    )


@dataclass(frozen=True)
class Tallied:
    """The histogram of one tensor, over [-limit, limit].

    Attributes
    ----------
    counts : (2 * HALF_BINS,) values per bin; added to in place.
    zeros : number of values that are exactly 0.
    """

    counts: Counts
    zeros: int = 0


def tally(
    counted: dict[str, Tallied], values: Mapping[str, Array], limits: Mapping[str, float]
) -> None:
    """Update the histograms with one sample's activations."""
    for name, array in values.items():
        found = counted.get(name) or Tallied(np.zeros(2 * HALF_BINS, np.int64))
        np.add(found.counts, count(array, limits[name]), out=found.counts)
        zeros = array.size - int(np.count_nonzero(array))
        counted[name] = replace(found, zeros=found.zeros + zeros)
