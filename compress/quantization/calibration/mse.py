"""The range of least squared error, from a histogram.

Within a bin values are taken to be spread evenly, so that the expected error of a grid has a closed
form: no grid is too fine or too coarse for the bins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.quantization.calibration.ranges import HALF_BINS, Histogram, Range, within

if TYPE_CHECKING:
    from compress.quantization.integers import Integers

Floats = NDArray[np.float64]

_CLIPS = 128  # tried on either side, evenly in their logarithm
_LEAST_CLIP = 8  # bins
_EXACT = 16  # clips, best by the approximation, whose error is then computed exactly
_EDGES = np.arange(-HALF_BINS, HALF_BINS + 1, dtype=np.float64)


def least_error_range(histogram: Histogram, integers: Integers) -> Range:
    """The clip that minimises the expected squared error of 8 bits: rounding and clipping.

    Both ends are searched where activations are unsigned (asymmetric), one threshold where they
    are signed (symmetric). A first search takes the rounding error for step² / 12; the error of the
    best clips is then computed on the grid that they make, with its zero point a whole number.
    Banner et al., "Post training 4-bit quantization of convolutional networks for
    rapid-deployment", NeurIPS 2019; Nagel et al., "A White Paper on Neural Network Quantization",
    2021, section 3.1.
    """
    if histogram.constant:
        return histogram.low, histogram.high
    signed = integers.activations == "int8"
    width = histogram.limit / HALF_BINS
    weights = histogram.counts.astype(np.float64)
    weights[HALF_BINS] -= histogram.zeros
    low, high = _pairs(max(-histogram.low, 0.0) / width, max(histogram.high, 0.0) / width, signed)
    rough = _approximate_error(weights, low, high, steps=254 if signed else 255)
    # The first pair is the whole range; where all are equally good, that is what is kept.
    best = np.unique(np.append(0, np.argsort(rough, kind="stable")[:_EXACT]))
    errors = [expected_error(weights, low[i], high[i], signed=signed) for i in best]
    chosen = best[int(np.argmin(errors))]
    return within(histogram, -low[chosen] * width, high[chosen] * width)


def expected_error(weights: Floats, low: float, high: float, *, signed: bool) -> float:
    """Squared error, in squared bins, of all values once they were quantized to 8 bits.

    Parameters
    ----------
    weights : (2 * HALF_BINS,) values per bin; exact zeros, which cost nothing, left out.
    low, high : how far the range reaches below and above 0, in bins.
    signed : symmetric in -127 ... 127, rather than asymmetric in 0 ... 255.
    """
    if signed:
        step = max(low, high) / 127
        bottom, top = -127 * step, 127 * step
    else:
        step = (low + high) / 255
        zero_point = np.rint(low / step)
        bottom, top = -zero_point * step, (255 - zero_point) * step
    # The integral of the squared distance to the grid from 0 to each bin's edge: 1/12 for each
    # whole step and a cube of the rest; outside of the grid a cube of the distance from its end.
    inside = np.clip(_EDGES, bottom, top)
    whole = np.rint(inside / step)
    integral = step**3 * (whole / 12 + (inside / step - whole) ** 3 / 3)
    integral += (_EDGES - inside) ** 3 / 3
    return float(weights @ np.diff(integral))


def _pairs(low: float, high: float, signed: bool) -> tuple[Floats, Floats]:
    """Clips to try: how far each reaches below and above 0, in bins; the whole range first."""
    if signed:
        both = _clips(max(low, high))
        return both, both
    below, above = np.meshgrid(_clips(low), _clips(high), indexing="ij")
    return below.reshape(-1), above.reshape(-1)


def _clips(reach: float) -> Floats:
    if reach == 0:
        return np.zeros(1)
    return np.geomspace(reach, min(_LEAST_CLIP, reach), _CLIPS)


def _approximate_error(weights: Floats, low: Floats, high: Floats, *, steps: int) -> Floats:
    """As `expected_error`, for many clips at once: at whole bins, and step² / 12 for rounding."""
    centres = _EDGES[:-1] + 0.5
    moments = [weights, weights * centres, weights * (centres**2 + 1 / 12)]
    below = [np.concatenate([[0.0], np.cumsum(moment)]) for moment in moments]
    bottom = HALF_BINS - np.rint(low).astype(np.intp)
    top = HALF_BINS + np.rint(high).astype(np.intp)
    clipped = sum(
        moment[2] - 2 * bound * moment[1] + bound**2 * moment[0]
        for bound, moment in (
            (-low, [total[bottom] for total in below]),
            (high, [total[-1] - total[top] for total in below]),
        )
    )
    inside = below[0][top] - below[0][bottom]
    error: Floats = clipped + inside * ((low + high) / steps) ** 2 / 12
    return error
