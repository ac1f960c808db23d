"""The factor that makes probabilities of a linear model's scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, logsumexp

_BOUNDS = (-5.0, 5.0)
"""Least and largest logarithm of the factor."""


def fitted_scale(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """The factor of the scores by which labels are the likeliest (Platt, 1999; Guo et al., "On
    Calibration of Modern Neural Networks", ICML 2017, who divide by a temperature).

    An SVM's scores are distances, and say nothing of probabilities before.

    Parameters
    ----------
    scores : (N, C) of samples that the model wasn't trained on, N >= 1.
    labels : classes (N,), or sets of them (N, C) of 0 and 1.
    """
    scores = scores.astype(np.float64)

    def loss(logarithm: float) -> float:
        scaled = np.exp(logarithm) * scores
        if labels.ndim == 2:
            return -float(log_expit(np.where(labels > 0, scaled, -scaled)).mean())
        right = np.take_along_axis(scaled, labels[:, None].astype(np.int64), axis=1)[:, 0]
        return float((logsumexp(scaled, axis=1) - right).mean())

    return float(np.exp(minimize_scalar(loss, bounds=_BOUNDS, method="bounded").x))
