"""Collects the classes that a model predicts, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compress.core.batch import IGNORED, LABELS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.context import Target
    from compress.measurement.metrics.tally import Answer, Floats

    Integers = NDArray[np.integer[Any]]


class Predicted(NamedTuple):
    """Predicted classes, labels, and confidence, as `KeptAnswers` has them."""

    predicted: Integers | None = None
    labels: Integers | None = None
    confidence: NDArray[np.float32] | None = None


class Predictions:
    """The predicted classes of one model.

    Parameters
    ----------
    target : the kind of a sample's label. For a task of one's own, classes are collected if the
        first output has a score for each of `classes`, and a sample has one label.
    classes : names of the classes.
    """

    def __init__(self, target: Target, classes: Sequence[str]) -> None:
        self._target, self._classes = target, len(classes)
        self._parts: list[Predicted] = []

    def add(self, answer: Answer) -> None:
        """Collect a batch's predictions, if its outputs are scores of classes."""
        found = self._of(answer)
        if found is not None:
            self._parts.append(found)

    def collected(self) -> Predicted:
        """Return what was collected of all batches."""
        columns = zip(*self._parts, strict=True)
        return Predicted(
            *(None if any(x is None for x in each) else np.concatenate(each) for each in columns)
        )

    def _of(self, answer: Answer) -> Predicted | None:
        labels = answer.batch.get(LABELS)
        scores = answer.scores
        if self._target == "class" or (self._target == "own" and self._is_classes(scores, labels)):
            wanted = None if labels is None else labels.astype(np.int32)
            return Predicted(scores.argmax(1).astype(np.int32), wanted, _confidence(scores))
        if self._target == "class-set":
            wanted = None if labels is None else labels.astype(np.int8)
            return Predicted((scores > 0).astype(np.int8), wanted)
        if self._target == "token-class":
            mask = answer.mask
            wanted = None if labels is None else labels[mask].astype(np.int32)
            return Predicted(scores.argmax(-1)[mask].astype(np.int32), wanted)
        if self._target == "next-token" and labels is not None:
            wanted = labels[:, 1:]
            counted = wanted != IGNORED
            said = scores[:, :-1].argmax(-1)[counted]
            return Predicted(said.astype(np.int32), wanted[counted].astype(np.int32))
        return None

    def _is_classes(self, scores: Floats, labels: NDArray[Any] | None) -> bool:
        one = labels is not None and labels.ndim == 1 and labels.dtype.kind in "iu"
        return one and scores.ndim == 2 and scores.shape[1] == self._classes


def _confidence(scores: Floats) -> NDArray[np.float32]:
    """Probability (N,) of the likeliest class, from raw scores (N, C)."""
    apart = scores.astype(np.float64) - scores.max(1, keepdims=True)
    return np.asarray(1 / np.exp(apart).sum(1), np.float32)
