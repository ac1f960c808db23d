"""Metrics of models that predict a class for each token, or the next token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from compress.core.batch import IGNORED
from compress.errors import StageError
from compress.measurement.metrics.tally import Answer, Sums, f1_of_classes, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.measurement.metrics.tally import Floats

_TOKENS = 64
"""Number of tokens whose probabilities are computed at a time."""


def token_accuracy() -> Sums:
    """Fraction of labelled tokens with a correct class."""

    def rows(answer: Answer) -> Floats:
        labelled = answer.labels != IGNORED
        right = (answer.scores.argmax(-1) == answer.labels) & labelled
        return _counted(right, labelled)

    return Sums(rows, _fraction)


def token_agreement() -> Sums:
    """Fraction of tokens for which model and reference predict the same class."""

    def rows(answer: Answer) -> Floats:
        ours, theirs = answer.scores, answer.wanted.scores
        if ours.shape != theirs.shape:
            raise StageError(
                "agreement over tokens needs the same tokens. Got answers of shape "
                f"{ours.shape}, and {theirs.shape} of the reference."
            )
        same = ours.argmax(-1) == theirs.argmax(-1)
        return _counted(same & answer.mask, answer.mask)

    return Sums(rows, _fraction)


def token_f1_macro() -> Sums:
    """Mean F1 of the classes that occur in labels or answers, over labelled tokens."""

    def rows(answer: Answer) -> Floats:
        labelled = answer.labels != IGNORED
        said, classes = answer.scores.argmax(-1), answer.scores.shape[-1]
        right = labelled & (said == answer.labels)
        hits = _by_class(said, right, classes)
        predicted = _by_class(said, labelled, classes)
        wanted = _by_class(answer.labels, labelled, classes)
        counted: Floats = np.concatenate([hits, predicted, wanted], axis=1)[labelled.any(1)]
        return counted

    return Sums(rows, f1_of_classes)


def perplexity() -> Sums:
    """Perplexity: exp of the mean negative log-likelihood of each token after the first."""

    def rows(answer: Answer) -> Floats:
        wanted, counts = _shifted(answer)
        losses = np.array(
            [
                _negative_log_likelihood(scores[:-1][counted], labels[counted])
                for scores, labels, counted in zip(answer.scores, wanted, counts, strict=True)
            ]
        )
        return np.stack([losses, counts.sum(1)], axis=1)[counts.any(1)]

    return Sums(rows, lambda sums: np.asarray(np.exp(ratio(sums[:, 0], sums[:, 1]))))


def next_token_accuracy() -> Sums:
    """Fraction of tokens to which the model gives the highest score."""

    def rows(answer: Answer) -> Floats:
        wanted, counts = _shifted(answer)
        return _counted((answer.scores[:, :-1].argmax(-1) == wanted) & counts, counts)

    return Sums(rows, _fraction)


def _shifted(answer: Answer) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The token after each one, and whether it counts; both (N, S - 1)."""
    wanted = answer.labels[:, 1:].astype(np.int64)
    return wanted, wanted != IGNORED


def _negative_log_likelihood(scores: Floats, labels: NDArray[np.int64]) -> float:
    """Negative log-likelihood, summed over one sample's tokens; scores (T, V), labels (T,)."""
    total = 0.0
    for start in range(0, len(labels), _TOKENS):
        part = scores[start : start + _TOKENS].astype(np.float64)
        part -= part.max(axis=1, keepdims=True)
        chosen = np.take_along_axis(part, labels[start : start + _TOKENS, None], axis=1)[:, 0]
        total += float((np.log(np.exp(part).sum(1)) - chosen).sum())
    return total


def _counted(held: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Floats:
    """(M, 2): tokens for which `held` is true, and all that count, of samples that have any."""
    return np.stack([held.sum(1), counted.sum(1)], axis=1)[counted.any(1)].astype(np.float64)


def _fraction(sums: Floats) -> Floats:
    return ratio(sums[:, 0], sums[:, 1])


def _by_class(said: NDArray[np.int64], counted: NDArray[np.bool_], classes: int) -> Floats:
    """(N, C): number of times that each class occurs among a sample's tokens that count."""
    sample = np.broadcast_to(np.arange(len(said))[:, None], said.shape)
    places = sample[counted] * classes + said[counted]
    counts = np.bincount(places, minlength=len(said) * classes)
    return counts.reshape(len(said), classes).astype(np.float64)
