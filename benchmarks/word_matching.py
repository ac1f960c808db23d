"""Compares ways to find documents by their words, without a model: BM25 and TF-IDF.

    python benchmarks/word_matching.py DATA [--test 1000]

DATA holds test.parquet with a column `text`. A query is a text up to its first ". ", and its
document the rest; each query searches the documents of all. Prints MRR@10 and recall at 1, and the
seconds of one core that it takes to know the documents and to ask all queries.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from reranking import pairs_of
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from compress.measurement.baseline.bm25 import BM25
from compress.tasks.ranking_metrics import placed, recall, reciprocal_rank

Scores = Callable[[Sequence[str], Sequence[str]], Any]
"""A function from documents and queries to the scores (Q, D)."""


def bm25(terms: Any) -> Scores:
    """BM25 of some terms."""

    def scores(documents: Sequence[str], queries: Sequence[str]) -> Any:
        found = BM25(terms)
        weights = found.fit(documents)
        return (found.queries(queries) @ weights.T).toarray()

    return scores


def tf_idf(**options: Any) -> Scores:
    """The cosine of TF-IDF vectors."""

    def scores(documents: Sequence[str], queries: Sequence[str]) -> Any:
        found = TfidfVectorizer(sublinear_tf=True, **options)
        weights = found.fit_transform(documents)
        return (found.transform(queries) @ weights.T).toarray()

    return scores


def both(one: Scores, other: Scores) -> Scores:
    """The sum of two."""
    return lambda documents, queries: one(documents, queries) + other(documents, queries)


CHARACTERS: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (4, 4)}
WAYS: dict[str, Scores] = {
    "BM25 of words": bm25("words"),
    "BM25 of characters": bm25("characters"),
    "BM25 of words and characters": both(bm25("words"), bm25("characters")),
    "TF-IDF of words": tf_idf(),
    "TF-IDF of characters": tf_idf(**CHARACTERS),
    "TF-IDF of words and characters": both(tf_idf(), tf_idf(**CHARACTERS)),
}


def main() -> None:
    """Print a table of all ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--test", type=int, default=1000)
    given = parser.parse_args()
    pairs = pairs_of(given.data / "test.parquet", given.test)
    documents = list(dict.fromkeys(document for _, document in pairs))
    right = [documents.index(document) for _, document in pairs]
    print(f"{len(pairs)} queries, {len(documents)} documents")
    print("| without a model | MRR@10 | recall at 1 | seconds |\n|---|---|---|---|")
    for name, way in WAYS.items():
        start = time.thread_time()
        with threadpool_limits(1):
            scores = way(documents, [query for query, _ in pairs])
        seconds = time.thread_time() - start
        places = [
            placed(row, np.arange(len(documents)) == at)
            for row, at in zip(scores, right, strict=True)
        ]
        ranks = np.mean([reciprocal_rank(place, most=10) for place in places])
        found = np.mean([recall(place, most=1) for place in places])
        print(f"| {name} | {ranks:.4f} | {found:.4f} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
