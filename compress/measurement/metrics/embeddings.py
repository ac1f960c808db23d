"""Metrics that compare sentence embeddings with the reference's embeddings of the same texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from compress.errors import DataError, StageError
from compress.measurement.intervals import percentile, resampled
from compress.measurement.metrics.tally import Answer, Score, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.context import Pooling
    from compress.measurement.metrics.tally import Floats

MOST_SAMPLES = 2000
"""Largest number of samples, of which all pairs are compared. Memory is bounded thereby."""
_RESAMPLES = 500


class Embeddings:
    """Keeps each sample's embeddings: the model's and the reference's.

    Parameters
    ----------
    pooling : the way in which an embedding is made from the tokens'.
    function : a function of the model's and the reference's cosine similarities, both (N, N), and
        of a seed.
    least : smallest number of samples that the function needs.
    """

    def __init__(
        self, function: Callable[[Floats, Floats, int], Score], *, pooling: Pooling, least: int
    ) -> None:
        self._function, self._pooling, self._least = function, pooling, least
        self._model: list[Floats] = []
        self._reference: list[Floats] = []
        self.samples = 0

    def add(self, answer: Answer) -> None:
        """See `Tally`."""
        self._model.append(pooled(answer, self._pooling))
        self._reference.append(pooled(answer.wanted, self._pooling))
        self.samples += len(answer.scores)

    def score(self, *, seed: int) -> Score:
        """See `Tally`; raises DataError if there are too few samples."""
        if self.samples < self._least:
            raise DataError(f"this metric needs {self._least} samples. Got {self.samples}.")
        model, reference = (cosines(np.concatenate(x)) for x in (self._model, self._reference))
        return self._function(model, reference, seed)


def spearman(pooling: Pooling) -> Embeddings:
    """Spearman's correlation of model and reference over the similarities of all pairs."""
    return Embeddings(_spearman, pooling=pooling, least=3)


def recall(most: int, pooling: Pooling) -> Embeddings:
    """Recall: fraction of samples whose nearest in the reference is among the model's `most`."""

    def function(model: Floats, reference: Floats, seed: int) -> Score:
        return share(nearest_found(model, reference, most=most))

    return Embeddings(function, pooling=pooling, least=most + 2)


def pooled(answer: Answer, pooling: Pooling = "mean") -> Floats:
    """The embedding of each sample, (N, H), made of its tokens' unless the graph makes it."""
    if answer.scores.ndim == 2:
        return np.asarray(answer.scores, np.float64)
    if pooling == "max":
        kept = np.where(answer.mask[:, :, None], answer.scores, -np.inf)
        return np.asarray(kept.max(1), np.float64)
    if pooling == "cls":
        first = answer.mask.argmax(1)
        return np.asarray(answer.scores[np.arange(len(first)), first], np.float64)
    mask = answer.mask[:, :, None]
    count = np.maximum(mask.sum(1), 1)
    return np.asarray((answer.scores.astype(np.float64) * mask).sum(1) / count)


def cosines(vectors: Floats) -> Floats:
    """Cosine similarities of all pairs, (N, N).

    Raises
    ------
    StageError : a vector of length 0 has no direction.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (lengths > 0).all():
        raise StageError("an embedding is all zeros; it has no cosine similarity to others.")
    unit = vectors / lengths
    return np.asarray(unit @ unit.T)


def nearest_found(model: Floats, reference: Floats, *, most: int) -> NDArray[np.bool_]:
    """For which samples (N,) the nearest in the reference is among the model's `most` nearest."""
    apart = np.eye(len(model), dtype=bool)
    wanted = np.where(apart, -np.inf, reference).argmax(1)
    others = np.where(apart, -np.inf, model)
    nearer = (others > others[np.arange(len(model)), wanted][:, None]).sum(1)
    return np.asarray(nearer < most)


def _spearman(model: Floats, reference: Floats, seed: int) -> Score:
    """Spearman's correlation. Ranks are among all pairs; the interval's bootstrap draws samples."""
    from scipy.stats import rankdata

    pairs = np.triu_indices(len(model), k=1)
    ranks = []
    for similarities in (model, reference):
        ranked = np.zeros_like(similarities)
        ranked[pairs] = rankdata(similarities[pairs])
        ranks.append(ranked + ranked.T)
    ours, theirs = ranks
    products = [np.ones_like(ours) - np.eye(len(ours)), ours, theirs]
    products += [ours * theirs, ours * ours, theirs * theirs]
    value = float(_correlation(*(np.array([one.sum()]) for one in products))[0])
    if np.isnan(value):
        raise StageError(
            "all embeddings are equally similar to one another; Spearman's correlation of their "
            "similarities doesn't exist."
        )
    drawn = []
    for weights in resampled(len(ours), seed=seed, draws=_RESAMPLES):
        sums = (((weights @ one) * weights).sum(1) for one in products)
        drawn.append(_correlation(*sums))
    draws = np.concatenate(drawn)
    return Score(value, percentile(draws[~np.isnan(draws)]), draws=draws)


def _correlation(n: Floats, x: Floats, y: Floats, xy: Floats, xx: Floats, yy: Floats) -> Floats:
    """Pearson's correlation from sums; NaN if one of the two variables is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
        return np.asarray(np.clip(np.where(spread > 0, (n * xy - x * y) / spread, np.nan), -1, 1))
