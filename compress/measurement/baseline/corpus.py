"""Queries of the test split and the documents that they all search, as BM25 ranks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.data.texts.pairs import of_pairs
from compress.errors import DataError
from compress.measurement.metrics.retrieval import Pairs, Retrieval, judged, searched
from compress.measurement.paired.kept import KeptAnswers
from compress.measurement.results import Quality

if TYPE_CHECKING:
    from compress.data.dataset import Dataset
    from compress.data.rows import Indices
    from compress.data.splits import Samples
    from compress.measurement.baseline.matcher import Matcher
    from compress.measurement.metrics.registry import Metric

_TOGETHER = 1024


@dataclass(frozen=True, eq=False)
class Documents:
    """Texts at some positions of a split, read a block at a time whenever they are asked for."""

    samples: Samples
    positions: Indices

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.positions)

    def __iter__(self) -> Iterator[str]:
        """The texts in order."""
        for start in range(0, len(self.positions), _TOGETHER):
            yield from self.at(np.arange(start, min(start + _TOGETHER, len(self))))

    def at(self, places: Indices) -> list[str]:
        """The texts at some places among these."""
        return list(self.samples.fetch(self.positions[places])["text"])


class Corpus:
    """Queries of the test split, and its documents, which all queries search.

    BM25 knows the documents that it searches, as every search engine does.

    Raises
    ------
    DataError : no query has a relevant document.
    """

    whole = True
    said_of_a_call = "a call ranks all {count:,} documents for one query; a model's embeds one text"

    def __init__(self, data: Dataset, metric: Metric, *, limit: int | None, test_data: str) -> None:
        self._metric, self._test_data = metric, test_data
        samples = data.splits["test"]
        pairs = Pairs()
        pairs.add(np.asarray(samples.targets)[:limit])
        self._relevance, places = searched(pairs)
        self._queries = len(np.unique(self._relevance.queries[self._relevance.gains > 0]))
        if not self._queries:
            raise DataError(f"there are no queries to measure {metric.name} on.")
        self._texts = samples
        self.documents = Documents(samples, places)

    def measured(self, matcher: Matcher, weights: Any) -> KeptAnswers:
        """Judge BM25's order of all documents for each query."""
        columns = weights.T.tocsr()
        return self._judged(
            lambda rows: np.asarray((matcher.queries(self._read(rows)) @ columns).todense())
        )

    def alike(self) -> KeptAnswers:
        """Judge an order by chance."""
        return self._judged(lambda rows: np.zeros((len(rows), len(self.documents))))

    def calls(self, matcher: Matcher, weights: Any, count: int) -> list[Any]:
        """Return functions without arguments that rank all documents for one query each."""
        columns = weights.T.tocsr()
        rows = np.unique(self._relevance.queries)
        texts = [self._read(rows[at % len(rows)][None]) for at in range(count)]
        return [lambda given=text: matcher.queries(given) @ columns for text in texts]

    def _read(self, positions: Any) -> list[str]:
        return list(self._texts.fetch(np.asarray(positions))["text"])

    def _judged(self, scores: Any) -> KeptAnswers:
        tally = self._metric.tally(())
        if not isinstance(tally, Retrieval):
            raise TypeError(f"{self._metric.name} judges no ranking of documents.")
        score = judged(self._relevance, scores, tally.metric, documents=len(self.documents), seed=0)
        better = self._metric.higher_is_better
        quality = Quality(self._metric.name, score.value, score.ci95, self._queries, better)
        return KeptAnswers(quality, test_data=self._test_data, held=score.held, draws=score.draws)


def has_corpus(data: Dataset, metric: Metric) -> bool:
    """Whether the data has queries with their documents, and the metric judges rankings of them."""
    return of_pairs(data.splits["test"]) and isinstance(metric.tally(()), Retrieval)
