"""Whether a model's confidence is earned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 15


def calibration_error(confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> float:
    """Expected calibration error, in 15 bins of equal width (Guo et al., 2017).

    Parameters
    ----------
    confidence : probability (N,) of the predicted class, in [0, 1].
    right : whether the prediction is correct, (N,).
    """
    given = confidence.astype(np.float64)
    bins = np.clip(np.ceil(given * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, weights=given - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(given))
