"""Metrics of embeddings of queries and documents, against what is relevant to what.

All documents of the samples are the corpus. A document that several pairs name is one document, and
a query that several pairs name is one query, to which all of these documents are relevant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compress.core.batch import PAIRS
from compress.data.texts.pairs import DOCUMENT, IS_DOCUMENT, QUERY, SCORE
from compress.errors import DataError, StageError
from compress.measurement.intervals import percentile, resampled
from compress.measurement.metrics.embeddings import pooled
from compress.measurement.metrics.tally import Answer, Score, Sums, ratio
from compress.measurement.metrics.vectors import Vectors
from compress.tasks.ranking_metrics import (
    Placed,
    ndcg,
    placed,
    recall,
    reciprocal_rank,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.context import Pooling
    from compress.measurement.metrics.tally import Floats, Integers

DEPTH = 10
"""Documents of a ranking that count for MRR and NDCG."""
_SCORES_TOGETHER = 4_000_000
"""Scores of queries and documents that are held at a time, 32 MB."""
OfQuery = Callable[[Placed], float]
"""A metric of one query from where its relevant documents are placed."""


class Relevance(NamedTuple):
    """Which documents are relevant to which queries.

    Attributes
    ----------
    queries, documents : for each relevant pair the number of its query and of its document (R,).
    gains : how relevant (R,), above 0.
    """

    queries: Integers
    documents: Integers
    gains: NDArray[np.float64]


class Pairs:
    """The pairs of the texts that were seen so far, and the first text of each number.

    Attributes
    ----------
    texts : number of texts.
    """

    def __init__(self) -> None:
        self._rows: list[NDArray[np.float64]] = []

    def add(self, batch_pairs: NDArray[np.float64]) -> None:
        """Add the targets (M, 4) of a batch's texts; see `compress.data.texts.pairs`."""
        self._rows.append(batch_pairs)

    def whole(self) -> tuple[Integers, Integers, NDArray[np.float64]]:
        """The places of queries and of documents (P,) among the texts, and scores (P,).

        Pairs of which a text is missing, since a limit cut them, are left out. Places are those of
        the first text of a number.
        """
        rows = self._all()
        is_document = rows[:, IS_DOCUMENT] == 1
        pairs = rows[_stated(rows, is_document)]
        queries, documents = (
            _places(rows[:, side], among, of=pairs[:, side])
            for side, among in ((QUERY, ~is_document), (DOCUMENT, is_document))
        )
        found = (queries >= 0) & (documents >= 0)
        return queries[found], documents[found], pairs[found, SCORE]

    def corpus(self) -> Integers:
        """The places of all documents among the texts, in order, each document once."""
        rows = self._all()
        places = np.flatnonzero(rows[:, IS_DOCUMENT] == 1)
        _, first = np.unique(rows[places, DOCUMENT], return_index=True)
        return np.sort(places[first])

    def _all(self) -> NDArray[np.float64]:
        return np.concatenate(self._rows) if self._rows else np.zeros((0, 4))


def _stated(rows: NDArray[np.float64], is_document: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which texts state that their pair belongs together, so that each pair is stated once.

    A query says nothing if the next text, the document itself, says it too.
    """
    both = (rows[:, [QUERY, DOCUMENT]] >= 0).all(1)
    said_next = np.zeros(len(rows), bool)
    same = (rows[1:, [QUERY, DOCUMENT]] == rows[:-1, [QUERY, DOCUMENT]]).all(1)
    said_next[:-1] = ~is_document[:-1] & is_document[1:] & same
    return both & ~said_next


def _places(
    numbers: NDArray[np.float64], among: NDArray[np.bool_], *, of: NDArray[np.float64]
) -> Integers:
    """The place of the first text of each number; -1 where there is none."""
    places = np.flatnonzero(among)
    known, first = np.unique(numbers[places], return_index=True)
    if not len(known):
        return np.full(len(of), -1)
    at = np.searchsorted(known, of).clip(max=len(known) - 1)
    return np.where(known[at] == of, places[first[at]], -1)


class _PairedEmbeddings:
    """Keeps each text's embedding at unit length, and the pairs."""

    def __init__(self, pooling: Pooling) -> None:
        self._pooling = pooling
        self._vectors = Vectors()
        self._pairs = Pairs()

    def add(self, answer: Answer) -> None:
        """See `Tally`.

        Raises
        ------
        DataError : the samples are no pairs.
        StageError : an embedding is all zeros.
        """
        if PAIRS not in answer.batch:
            raise DataError(
                "this metric needs queries with their documents: name both columns with "
                "'data.columns' ('text' and 'text_pair')."
            )
        vectors = pooled(answer, self._pooling)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (lengths > 0).all():
            raise StageError("an embedding is all zeros; it has no cosine similarity to others.")
        self._vectors.add((vectors / lengths).astype(np.float32))
        self._pairs.add(answer.batch[PAIRS])


class Retrieval(_PairedEmbeddings):
    """The mean over queries of a metric of each one's ranking of all documents by cosine.

    Parameters
    ----------
    metric : a metric of one query.
    pooling : the way in which an embedding is made from the tokens'.

    Attributes
    ----------
    metric : the metric of one query.
    """

    def __init__(self, metric: OfQuery, pooling: Pooling) -> None:
        super().__init__(pooling)
        self.metric = metric

    @property
    def samples(self) -> int:
        """Number of queries to which a document is relevant."""
        queries, _, scores = self._pairs.whole()
        return len(np.unique(queries[_gains(scores) > 0]))

    def score(self, *, seed: int) -> Score:
        """See `Tally`; the interval's bootstrap draws queries."""
        relevance, corpus = searched(self._pairs)

        def compared(rows: Integers) -> Floats:
            return self._vectors.products(self._vectors.at(rows))[:, corpus]

        return judged(relevance, compared, self.metric, documents=len(corpus), seed=seed)


def searched(pairs: Pairs) -> tuple[Relevance, Integers]:
    """Return what is relevant to what, and the corpus: the places of its documents (D,) in order.

    Queries have the numbers of their places, and documents those in the corpus.
    """
    queries, documents, scores = pairs.whole()
    corpus = pairs.corpus()
    return Relevance(queries, np.searchsorted(corpus, documents), _gains(scores)), corpus


def judged(
    relevance: Relevance,
    scores: Callable[[Integers], Floats],
    metric: OfQuery,
    *,
    documents: int,
    seed: int,
) -> Score:
    """The mean over queries of a metric, by scores that are computed a block of queries at a time.

    Parameters
    ----------
    scores : a function from numbers of queries (B,) to the scores (B, D) of all documents.
    documents : number of documents, D.
    seed : seed of the interval's bootstrap over queries.
    """
    values = [metric(one) for one in places(relevance, scores, documents=documents)]
    rows = np.column_stack([values, np.ones(len(values))])
    sums = Sums(lambda _: rows, lambda totals: ratio(totals[:, 0], totals[:, 1]))
    sums.add(Answer(rows, {}))
    return sums.score(seed=seed)


def places(
    relevance: Relevance, scores: Callable[[Integers], Floats], *, documents: int
) -> Iterator[Placed]:
    """Where each query's ranking places what is relevant to it, by the number of the query.

    Parameters are those of `judged`. Queries to which nothing is relevant are left out.
    """
    kept = relevance.gains > 0
    queries, at = np.unique(relevance.queries[kept], return_inverse=True)
    order = np.argsort(at, kind="stable")
    ends = np.cumsum(np.bincount(at, minlength=len(queries)))
    relevant = np.split(relevance.documents[kept][order], ends[:-1])
    gained = np.split(relevance.gains[kept][order], ends[:-1])
    together = max(1, _SCORES_TOGETHER // max(documents, 1))
    for start in range(0, len(queries), together):
        block = scores(queries[start : start + together])
        for row, found in enumerate(block, start):
            gains = np.zeros(documents)
            np.maximum.at(gains, relevant[row], gained[row])
            yield placed(found, gains)


class PairCorrelation(_PairedEmbeddings):
    """Correlation of the cosines of pairs with their scores.

    Parameters
    ----------
    ranked : whether ranks are correlated (Spearman), or the values themselves (Pearson).
    pooling : the way in which an embedding is made from the tokens'.
    """

    def __init__(self, *, ranked: bool, pooling: Pooling) -> None:
        super().__init__(pooling)
        self._ranked = ranked

    @property
    def samples(self) -> int:
        """Number of pairs with a score."""
        return int(np.isfinite(self._pairs.whole()[2]).sum())

    def score(self, *, seed: int) -> Score:
        """See `Tally`; the interval's bootstrap draws pairs, whose ranks are those among all."""
        from scipy.stats import rankdata

        queries, documents, wanted = self._pairs.whole()
        known = np.isfinite(wanted)
        first, second = (self._vectors.at(places[known]) for places in (queries, documents))
        got = (first.astype(np.float64) * second).sum(1)
        columns = [got, wanted[known]]
        if self._ranked:
            columns = [rankdata(values) for values in columns]
        x, y = (values - values.mean() for values in columns)
        moments = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
        value = float(_pearson(moments.sum(0)[None])[0])
        if np.isnan(value):
            raise DataError("all pairs have one score, or one cosine: nothing correlates with it.")
        draws = np.concatenate(
            [_pearson(weights @ moments) for weights in resampled(len(x), seed=seed)]
        )
        return Score(value, percentile(draws[~np.isnan(draws)]), draws=draws)


def _pearson(sums: Floats) -> Floats:
    """Pearson's correlation (R,) from sums (R, 6): count, x, y, x², y², xy."""
    n, x, y, xx, yy, xy = sums.T
    spread = np.sqrt(np.maximum(n * xx - x * x, 0) * np.maximum(n * yy - y * y, 0))
    return np.asarray(np.clip(ratio(n * xy - x * y, spread), -1, 1))


def _gains(scores: Floats) -> NDArray[np.float64]:
    """Gains of pairs from their scores; a pair without one is simply relevant."""
    return np.where(np.isnan(scores), 1.0, scores)


def mrr(found: Placed) -> float:
    """Reciprocal rank among the first ten documents; its mean is MRR@10, as MS MARCO has it."""
    return reciprocal_rank(found, most=DEPTH)


def ndcg_at_10(found: Placed) -> float:
    """NDCG of the first ten documents, BEIR's metric (Thakur et al., 2021)."""
    return ndcg(found, most=DEPTH)


def recall_at(most: int) -> OfQuery:
    """Fraction of a query's relevant documents that are among the first `most`."""
    return lambda found: recall(found, most=most)
