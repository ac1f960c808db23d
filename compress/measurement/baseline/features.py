"""TF-IDF of words and of characters (Salton & Buckley, 1988), by scikit-learn."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS, _CHARACTERS = (1, 2), (4, 4)
"""Lengths of the n-grams: words, and characters inside of words."""
_MOST_FEATURES = 100_000
"""The most frequent n-grams of a kind are kept."""
_PILOT = 500
"""Texts by which the speed is measured."""


class TfIdf:
    """Weighted counts of n-grams, words and characters side by side, for each column of texts."""

    def __init__(self) -> None:
        self._columns: list[list[TfidfVectorizer]] = []

    def fit(self, columns: Sequence[Sequence[str]]) -> csr_matrix:
        """Learn the n-grams of texts; return their features (N, F).

        Raises
        ------
        ValueError : the texts have no words at all.
        """
        self._columns = [_vectorizers(len(texts)) for texts in columns]
        found = [
            vectorizer.fit_transform(texts)
            for texts, vectorizers in zip(columns, self._columns, strict=True)
            for vectorizer in vectorizers
        ]
        return hstack(found, format="csr")

    def __call__(self, columns: Sequence[Sequence[str]]) -> csr_matrix:
        """Return the features (M, F) of texts."""
        found = [
            vectorizer.transform(texts)
            for texts, vectorizers in zip(columns, self._columns, strict=True)
            for vectorizer in vectorizers
        ]
        return hstack(found, format="csr")


def texts_within(columns: Sequence[Sequence[str]], seconds: float) -> int:
    """Return how many of the first texts `TfIdf.fit` takes in this time, by a trial on a few."""
    few = [texts[:_PILOT] for texts in columns]
    start = time.thread_time()
    TfIdf().fit(few)
    rate = (time.thread_time() - start) / max(1, _characters(few))
    lengths = np.sum([[len(text) for text in texts] for texts in columns], axis=0)
    return int((np.cumsum(lengths) * rate <= seconds).sum())


def _characters(columns: Sequence[Sequence[str]]) -> int:
    return sum(len(text) for texts in columns for text in texts)


def _vectorizers(texts: int) -> list[TfidfVectorizer]:
    common: dict[str, Any] = {
        "sublinear_tf": True,
        "min_df": 2 if texts > _PILOT else 1,
        "max_features": _MOST_FEATURES,
        "dtype": np.float32,
    }
    return [
        TfidfVectorizer(ngram_range=_WORDS, **common),
        TfidfVectorizer(ngram_range=_CHARACTERS, analyzer="char_wb", **common),
    ]
