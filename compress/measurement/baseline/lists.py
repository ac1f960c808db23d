"""Queries of the test split, each with a list of documents, as BM25 orders them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import SAMPLE_IDS
from compress.measurement.quality import measure_answers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.artifact import Preprocessor
    from compress.core.context import Batch, Task
    from compress.data.fields.dataset import TaskData
    from compress.measurement.baseline.matcher import Matcher
    from compress.measurement.metrics.registry import Metric
    from compress.measurement.paired.kept import KeptAnswers

    Floats = NDArray[np.floating[Any]]

_TOGETHER = 256


class Lists:
    """Queries of the test split, each with documents of its own to be ordered.

    How rare a word is, BM25 learns from the train split's documents.
    """

    whole = False
    said_of_a_call = "a call scores one document for one query, as a model's does"

    def __init__(
        self,
        data: TaskData,
        metric: Metric,
        *,
        task: Task,
        preprocessor: Preprocessor,
        limit: int | None,
        test_data: str,
    ) -> None:
        self._data, self._metric, self._task = data, metric, task
        self._preprocessor, self._limit, self._test_data = preprocessor, limit, test_data
        self.documents = _Documents(data)

    def measured(self, matcher: Matcher, weights: Any) -> KeptAnswers:
        """Judge BM25's order of each query's documents."""
        windows = self._data.windows("test", self._preprocessor)
        count = len(windows) if self._limit is None else windows.whole(self._limit)
        last, _ = windows.places(np.array([count - 1]))
        return self._answered(
            np.concatenate([matcher.of_pairs(*some) for some in self._pairs(int(last[0]) + 1)])
        )

    def alike(self) -> KeptAnswers:
        """Judge an order by chance."""
        return self._answered(np.zeros(len(self._data.windows("test", self._preprocessor))))

    def calls(self, matcher: Matcher, weights: Any, count: int) -> list[Any]:
        """Return functions without arguments that score one pair each."""
        queries, documents = next(self._pairs(min(count, len(self._data.splits["test"]))))
        pairs = [([queries[at]], [documents[at]]) for at in range(min(count, len(queries)))]
        return [lambda given=pair: matcher.of_pairs(*given) for pair in pairs]

    def _pairs(self, samples: int) -> Iterator[tuple[list[str], list[str]]]:
        """Queries and documents of the first samples, a block at a time."""
        for start in range(0, samples, _TOGETHER):
            positions = np.arange(start, min(start + _TOGETHER, samples))
            found = self._data.samples("test", positions)
            documents = [text for sample in found for text in sample["documents"]]
            queries = [sample["query"] for sample in found for _ in sample["documents"]]
            yield queries, documents

    def _answered(self, scores: Floats) -> KeptAnswers:
        def answer(batch: Batch) -> Any:
            return scores[np.asarray(batch[SAMPLE_IDS])][:, None]

        return measure_answers(
            answer,
            loader=self._data.loader(
                "test",
                self._preprocessor,
                batch_size=_TOGETHER,
                limit=self._limit,
                sample_ids=True,
            ),
            metric=self._metric,
            task=self._task,
            test_data=self._test_data,
        )


class _Documents:
    """The train split's documents, each once."""

    def __init__(self, data: TaskData) -> None:
        self._data = data
        self._count = sum(1 for _ in self)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        seen: set[bytes] = set()
        size = len(self._data.splits["train"])
        for start in range(0, size, _TOGETHER):
            positions = np.arange(start, min(start + _TOGETHER, size))
            for sample in self._data.samples("train", positions):
                for text in sample["documents"]:
                    key = hashlib.blake2b(text.encode(), digest_size=16).digest()
                    if key not in seen:
                        seen.add(key)
                        yield text
