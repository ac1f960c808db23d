"""Queries and all documents of a corpus as texts, of which each is read once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.data.rows import Indices, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Read = Callable[[Sequence[int]], list[str]]
    """A function from rows of a file to their texts."""


@dataclass(frozen=True, eq=False)
class TextsOfCorpus:
    """The queries of a split and all documents; see `compress.data.rows.Rows`.

    Attributes
    ----------
    targets : (N, 4) what belongs together, in the form of `compress.data.texts.pairs`; -1 where a
        text says nothing of a query or a document.
    rows : (N,) row of each text in its file.
    is_document : (N,) whether that file is the corpus.
    queries, documents : functions that read texts of both files.
    """

    split: str
    targets: NDArray[Any]
    rows: Indices
    is_document: NDArray[np.bool_]
    queries: Read
    documents: Read

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """See `Rows`."""
        return None

    def __len__(self) -> int:
        """See `Rows`."""
        return len(self.rows)

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`."""
        texts = np.empty(len(indices), object)
        documents = self.is_document[indices]
        for read, places in (
            (self.queries, np.flatnonzero(~documents)),
            (self.documents, np.flatnonzero(documents)),
        ):
            if len(places):
                texts[places] = read(self.rows[indices[places]].tolist())
        return {"text": texts.tolist()}

    def labels(self) -> Iterator[Values]:
        """See `Rows`; there are none, since targets say what belongs together."""
        return iter(())


def texts_of_corpus(
    split: str,
    relations: Sequence[tuple[int, int, float]],
    *,
    queries: Sequence[int],
    documents: int,
    read_queries: Read,
    read_documents: Read,
) -> TextsOfCorpus:
    """The texts of a split: relevant pairs come first, then what is in no pair.

    Parameters
    ----------
    relations : row of a query, row of a document that is relevant to it, and how relevant it is. A
        text that has come before isn't repeated for a further relation, unless both have; then the
        query is, which is shorter as a rule.
    queries : rows of queries that are texts of the split though nothing is relevant to them.
    documents : number of documents of the corpus.
    """
    nothing = np.nan
    seen: tuple[set[int], set[int]] = (set(), set())
    texts: list[tuple[int, bool, int, int, float]] = []
    for query, document, gain in relations:
        new_query, new_document = query not in seen[0], document not in seen[1]
        if (new_query and new_document) or not new_document:
            texts.append((query, False, query, document, gain))
        if new_document:
            texts.append((document, True, query, document, gain))
        seen[0].add(query)
        seen[1].add(document)
    texts += [(row, False, row, -1, nothing) for row in queries if row not in seen[0]]
    rest = np.setdiff1d(np.arange(documents), np.fromiter(seen[1], np.int64, len(seen[1])))
    found = np.array(texts, np.float64).reshape(-1, 5)
    tail = np.column_stack(
        [rest, np.ones(len(rest)), np.full(len(rest), -1), rest, np.full(len(rest), nothing)]
    )
    whole = np.concatenate([found, tail])
    return TextsOfCorpus(
        split,
        whole[:, [2, 3, 1, 4]],
        whole[:, 0].astype(np.int64),
        whole[:, 1] == 1,
        read_queries,
        read_documents,
    )
