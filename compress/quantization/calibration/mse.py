"""The range of least squared error, from a histogram.

Values are assumed to be uniform within a bin, so that the expected error of a grid has a closed
form. It holds for grids that are finer or coarser than the bins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.quantization.calibration.ranges import HALF_BINS, Histogram, Range, within

if TYPE_CHECKING:
    from compress.quantization.integers import Integers

Floats = NDArray[np.float64]

_CLIPS = 128  # clips tried on either side, evenly spaced in their logarithm
_LEAST_CLIP = 8  # in bins
_EXACT = 16  # best clips by the approximation, whose error is then computed exactly
_EDGES = np.arange(-HALF_BINS, HALF_BINS + 1, dtype=np.float64)


def least_error_range(histogram: Histogram, integers: Integers) -> Range:
    """The clip that minimises the expected squared error of 8-bit rounding and clipping.

    Both ends are searched if activations are unsigned (asymmetric), and one threshold if they are
    signed (symmetric). A first search approximates the rounding error by step² / 12. The error of
    the best clips is then computed on their actual grid, whose zero point is a whole number.
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
    # The first pair is the whole range, which is kept if all pairs are equally good.
    best = np.unique(np.append(0, np.argsort(rough, kind="stable")[:_EXACT]))
    errors = [expected_error(weights, low[i], high[i], signed=signed) for i in best]
    chosen = best[int(np.argmin(errors))]
    return within(histogram, -low[chosen] * width, high[chosen] * width)


def expected_error(weights: Floats, low: float, high: float, *, signed: bool) -> float:
    """The sum of the squared errors of all values after 8-bit quantization, in squared bins.

    Parameters
    ----------
    weights : (2 * HALF_BINS,) values per bin, without exact zeros, which have no error.
    low, high : the extent of the range below and above 0, in bins.
    signed : True for symmetric in -127 ... 127, False for asymmetric in 0 ... 255.
    """
    if signed:
        step = max(low, high) / 127
        bottom, top = -127 * step, 127 * step
    else:
        step = (low + high) / 255
        zero_point = np.rint(low / step)
        bottom, top = -zero_point * step, (255 - zero_point) * step
    # The integral of the squared distance to the grid, from 0 to each bin's edge. Inside the grid
    # each whole step adds step³ / 12, and the rest a third of its cube. Outside, the distance from
    # the end of the grid adds a third of its cube.
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
    """`expected_error` of many clips, approximated at whole bins and by step² / 12 for rounding."""
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
