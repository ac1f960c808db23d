"""Linear classifiers of scikit-learn that end in a given time, as plain weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.progress import Advance
    from compress.measurement.baseline.clock import Clock

    Floats = NDArray[np.floating[Any]]

_NEVER = -10.0
"""Score of a class that no sample of the train split has."""
_TOLERANCE = 0.1
"""Where an SVM stops; less takes several times as long for the same answers."""
_PILOT_ROWS = 4000
"""More samples than these are trained on only after a trial on as many."""
_SAFETY = 1.25
"""A training may take this much longer than the trial says: it needs more steps for more rows."""
_STEPS = 10
"""Steps of L-BFGS between two looks at the clock."""
LOOKS = 20
"""Most looks at the clock in a training by L-BFGS."""
_MOST_PRODUCTS = 2_000_000_000
"""Multiplications of one step: samples x numbers x classes. A step takes about a second then."""


@dataclass(frozen=True, eq=False)
class Linear:
    """Scores x W + b.

    Attributes
    ----------
    weights, bias : W (F, C) and b (C,), float32. W is contiguous; a sparse x would copy it if not.
    rows : number of samples that it was trained on.
    """

    weights: Floats
    bias: Floats
    rows: int

    def __call__(self, features: Any) -> Floats:
        """Return the scores (N, C) of features (N, F), sparse or not."""
        return np.asarray(features @ self.weights + self.bias, np.float32)


def support_vectors(features: Any, wanted: Any, clock: Clock, advance: Advance) -> Linear:
    """Train one linear SVM a class against all others (Fan et al., 2008).

    If all samples would take longer than the clock leaves, it is trained on as many as fit; if the
    time is over nevertheless, the result is that of a trial on a few.

    Parameters
    ----------
    features : (N, F), sparse or not, in random order.
    wanted : booleans (N, C): whether a sample is of a class.
    advance : gets a step for each class.
    """
    trial = None
    rows = features.shape[0]
    if rows > _PILOT_ROWS:
        before = clock.seconds
        trial = _one_by_one(features[:_PILOT_ROWS], wanted[:_PILOT_ROWS], None, None)
        each = (clock.seconds - before) / _PILOT_ROWS * _SAFETY
        rows = min(rows, max(_PILOT_ROWS, int(max(0.0, clock.left) / each)))
        if trial is not None and rows == _PILOT_ROWS:
            return trial
    found = _one_by_one(features[:rows], wanted[:rows], clock if trial else None, advance)
    if found is None and trial is not None:
        return trial
    if found is None:
        raise TypeError("a training without a trial has no limit of time.")
    return found


def _one_by_one(
    features: Any, wanted: Any, clock: Clock | None, advance: Advance | None
) -> Linear | None:
    """Return the SVMs of all classes; None if the clock's time was over before the last one."""
    classes = wanted.shape[1]
    weights = np.zeros((classes, features.shape[1]), np.float32)
    bias = np.zeros(classes, np.float32)
    for index in range(classes):
        if clock is not None and clock.left < 0:
            return None
        is_one = wanted[:, index]
        if is_one.all() or not is_one.any():
            bias[index] = -_NEVER if is_one.any() else _NEVER
        else:
            machine = LinearSVC(tol=_TOLERANCE, random_state=0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                machine.fit(features, is_one)
            weights[index], bias[index] = machine.coef_[0], machine.intercept_[0]
        if advance is not None:
            advance()
    return Linear(np.ascontiguousarray(weights.T), bias, features.shape[0])


def softmax_regression(
    features: Floats, labels: Any, *, classes: int, clock: Clock, advance: Advance
) -> Linear:
    """Train multinomial logistic regression by L-BFGS until it converges or the time is over.

    Parameters
    ----------
    features : (N, D) float32, about of unit size, in random order.
    labels : classes (N,) below `classes`.
    advance : gets a step for each look at the clock, `LOOKS` in all.
    """
    rows = min(len(features), max(classes, _MOST_PRODUCTS // (features.shape[1] * classes)))
    features, labels = features[:rows], labels[:rows]
    present = np.unique(labels)
    weights = np.zeros((classes, features.shape[1]), np.float32)
    bias = np.full(classes, _NEVER, np.float32)
    if len(present) == 1:
        bias[present] = -_NEVER
        return Linear(np.ascontiguousarray(weights.T), bias, rows)
    model = LogisticRegression(max_iter=_STEPS, warm_start=True)
    for look in range(1, LOOKS + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features, labels)
        ends = model.n_iter_[0] < _STEPS or clock.left < 0
        advance(LOOKS + 1 - look if ends else 1)
        if ends:
            break
    if len(present) == 2:  # scikit-learn keeps the second class's weights alone
        weights[present[1]], bias[present[1]] = model.coef_[0], model.intercept_[0]
        bias[present[0]] = 0.0
    else:
        weights[present], bias[present] = model.coef_, model.intercept_
    return Linear(np.ascontiguousarray(weights.T), bias, rows)
