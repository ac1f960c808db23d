"""BM25 of words and of characters side by side, learnt in a given time."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_matrix, hstack

from compress.errors import DataError
from compress.measurement.baseline.bm25 import BM25, TermsKind
from compress.measurement.baseline.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from compress.core.progress import Advance

    Floats = NDArray[np.floating[Any]]

KINDS: tuple[TermsKind, ...] = ("words", "characters")
_PILOT = 500
"""Documents by which the speed is measured."""
_SAFETY = 1.25
"""Learning may take this much longer than the trial says."""


@dataclass(frozen=True, eq=False)
class Matcher:
    """Scores documents for queries by the sum of several BM25.

    Attributes
    ----------
    parts : BM25 of words, and of characters if there was time.
    learnt : number of documents that they know.
    notes : what was left out to end in time.
    """

    parts: tuple[BM25, ...]
    learnt: int
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Such as "BM25 of words and characters"."""
        return f"BM25 of {' and '.join(KINDS[: len(self.parts)])}"

    @property
    def size_bytes(self) -> int:
        """Bytes of the terms and their idf, as `pickle` writes them; no index of documents."""
        return len(pickle.dumps(self.parts))

    def documents(self, texts: Sequence[str]) -> csr_matrix:
        """Return weights (M, T) of documents."""
        return hstack([part.documents(texts) for part in self.parts], format="csr")

    def queries(self, texts: Sequence[str]) -> csr_matrix:
        """Return counts (Q, T) of queries' terms."""
        return hstack([part.queries(texts) for part in self.parts], format="csr")

    def of_pairs(self, queries: Sequence[str], documents: Sequence[str]) -> Floats:
        """Return the score (P,) of each query's document beside it."""
        both = self.queries(queries).multiply(self.documents(documents))
        return np.asarray(both.sum(1), np.float64).ravel()


def learn(
    documents: Iterable[str], count: int, *, whole: bool, clock: Clock, advance: Advance
) -> tuple[Matcher, csr_matrix]:
    """Learn the terms of documents; return the matcher and these documents' weights (D, T).

    Characters are left out if all documents would take longer than the clock leaves.

    Parameters
    ----------
    documents : texts, which are read several times.
    count : number of documents, D.
    whole : whether all documents must be learnt, since they are what is searched. Otherwise as many
        as fit in the time.
    advance : gets a step for each kind of terms, of `KINDS`.

    Raises
    ------
    DataError : all must be learnt, and the words of all would take longer than the clock leaves.
    ValueError : the documents have no words at all.
    """
    each = [_seconds_of_one(documents, terms) * _SAFETY for terms in KINDS]
    left = max(clock.left, 0.0)
    fits = min(count, int(left / each[0]))
    if whole and fits < count:
        raise DataError(
            f"BM25 of {count:,} documents would take longer than {clock.limit:g} seconds."
        )
    fits = max(fits, 1)
    notes = []
    if fits < count:
        notes.append(f"learnt from {fits:,} of {count:,} train documents")
    kinds = KINDS if sum(each) * fits <= left else KINDS[:1]
    if kinds != KINDS:
        notes.append("characters left out")
    parts, weights = [], []
    for terms in kinds:
        parts.append(BM25(terms))
        weights.append(parts[-1].fit(islice(documents, fits)))
        advance()
    advance(len(KINDS) - len(kinds))
    said = [f"BM25: {note}, to end in {clock.limit:g} seconds" for note in notes]
    return Matcher(tuple(parts), fits, tuple(said)), hstack(weights, format="csr")


def _seconds_of_one(documents: Iterable[str], terms: TermsKind) -> float:
    """Return the time that a document takes, by a trial on the first ones."""
    few = list(islice(documents, _PILOT))
    clock = Clock(1.0)
    BM25(terms).fit(few)
    return clock.seconds / max(1, len(few))
