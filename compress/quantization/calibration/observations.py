"""Statistics of a model's activations, and the ranges that each method derives from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compress.errors import StageError, expected
from compress.quantization.calibration.mse import least_error_range
from compress.quantization.calibration.ranges import (
    Histogram,
    Range,
    entropy_range,
    percentile_range,
    with_zero,
)
from compress.quantization.calibration.statistics import Extremes, Tallied
from compress.quantization.integers import Integers
from compress.quantization.options import CalibrationMethod

OF_EXTREMES: tuple[CalibrationMethod, ...] = ("minmax", "moving_average")
OF_HISTOGRAMS: tuple[CalibrationMethod, ...] = ("percentile", "entropy", "mse")
_UNSIGNED = Integers()


@dataclass(frozen=True)
class Observations:
    """Statistics of activations by tensor name.

    Attributes
    ----------
    samples : number of samples that were run.
    extremes : least and largest values.
    histograms : values per bin; empty if no method that needs them was asked for.
    """

    samples: int
    extremes: Mapping[str, Extremes]
    histograms: Mapping[str, Tallied]

    def ranges(
        self,
        method: CalibrationMethod,
        *,
        percentile: float = 99.99,
        integers: Integers = _UNSIGNED,
    ) -> dict[str, Range]:
        """The range of each tensor, by name; every range contains 0.

        ONNX Runtime's quantizer would widen a range to hold 0 in any case.

        Parameters
        ----------
        percentile : percentage of all values that stays in range (percentile only).
        integers : the grid whose error is minimised (mse only).

        Raises
        ------
        StageError : the method needs histograms, and none were observed.
        """
        if method in OF_HISTOGRAMS and self.histograms.keys() != self.extremes.keys():
            raise StageError(expected("method", f"one of {', '.join(OF_EXTREMES)}", method))
        return {
            name: with_zero(self._range(name, method, percentile, integers))
            for name in self.extremes
        }

    def _range(
        self, name: str, method: CalibrationMethod, percentile: float, integers: Integers
    ) -> Range:
        seen = self.extremes[name]
        if method == "minmax":
            return seen.low, seen.high
        if method == "moving_average":
            return seen.mean
        counted = self.histograms[name]
        histogram = Histogram(seen.low, seen.high, counted.counts, counted.zeros)
        if method == "entropy":
            return entropy_range(histogram)
        if method == "mse":
            return least_error_range(histogram, integers)
        return percentile_range(histogram, percentile)
