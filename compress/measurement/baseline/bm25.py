"""Okapi BM25 (Robertson & Zaragoza, 2009): how well a document's words match those of a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

K1, B = 1.5, 0.75
"""How soon further occurrences of a term count no more, and how much a document's length counts."""
TermsKind = Literal["words", "characters"]
_CHARACTERS = 4


class BM25:
    """Weights of terms in documents, with Lucene's idf, which is above 0 for every term.

    Parameters
    ----------
    terms : words, or each four characters inside of a word. Those need no stemming and no
        dictionary, and find what words do in European languages (McNamee & Mayfield, "Character
        n-gram tokenization for European language text retrieval", 2004).
    """

    def __init__(self, terms: TermsKind = "words") -> None:
        self._counter = (
            CountVectorizer()
            if terms == "words"
            else CountVectorizer(analyzer="char_wb", ngram_range=(_CHARACTERS, _CHARACTERS))
        )
        self._idf: NDArray[np.float64] = np.zeros(0)
        self._mean = 0.0

    def fit(self, documents: Iterable[str]) -> csr_matrix:
        """Learn the terms of documents and how rare they are; return their weights (D, T).

        Raises
        ------
        ValueError : the documents have no terms at all.
        """
        counts = csr_matrix(self._counter.fit_transform(documents), dtype=np.float64)
        held = np.bincount(counts.indices, minlength=counts.shape[1])
        self._idf = np.log(1 + (counts.shape[0] - held + 0.5) / (held + 0.5))
        self._mean = float(counts.sum() / counts.shape[0])
        return self._weights(counts)

    def documents(self, texts: Iterable[str]) -> csr_matrix:
        """Return the weights (M, T) of other documents; terms that `fit` never saw don't count."""
        return self._weights(csr_matrix(self._counter.transform(texts), dtype=np.float64))

    def queries(self, texts: Sequence[str]) -> Any:
        """Return the counts (Q, T) of queries' terms. Their product with weights is the score."""
        return self._counter.transform(texts)

    def _weights(self, counts: csr_matrix) -> csr_matrix:
        lengths = np.asarray(counts.sum(1)).ravel()
        rows = np.repeat(np.arange(len(lengths)), np.diff(counts.indptr))
        norm = K1 * (1 - B + B * lengths[rows] / self._mean)
        weights = self._idf[counts.indices] * counts.data * (K1 + 1) / (counts.data + norm)
        return csr_matrix((weights, counts.indices, counts.indptr), shape=counts.shape)
