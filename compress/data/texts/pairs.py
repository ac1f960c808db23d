"""Pairs of a query and a document as texts of their own, for models that embed one text at a time.

Row 2 i is the query of pair i, and row 2 i + 1 its document. What belongs together stands in the
targets, so that whatever reads texts needs to know nothing of pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from compress.data.rows import Indices, Rows, Values
from compress.data.splits import Samples
from compress.data.texts.corpus import TextsOfCorpus
from compress.errors import DataError, clipped

QUERY, DOCUMENT, IS_DOCUMENT, SCORE = range(4)
"""Columns of the targets (2 N, 4) float64: the number of the pair's query, that of its document,
whether the text is the document, and the pair's score (NaN: none, so that the document is simply
relevant). Equal texts have one number; a number is the first pair that has the text. In a corpus a
number is the row of a file, and -1 stands for a text in no pair."""
_TOGETHER = 4096


@dataclass(frozen=True)
class TextsOfPairs:
    """The texts of pairs, one by one; see `compress.data.rows.Rows`."""

    pairs: Rows

    @property
    def split(self) -> str:
        """See `Rows`."""
        return self.pairs.split

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """See `Rows`."""
        return None

    def __len__(self) -> int:
        """See `Rows`."""
        return 2 * len(self.pairs)

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`. A pair whose query and document are both asked for is read once."""
        pairs, at = np.unique(indices // 2, return_inverse=True)
        found = self.pairs.fetch(pairs)
        both = (found["text"], found["text_pair"])
        return {"text": [both[row % 2][place] for row, place in zip(indices, at, strict=True)]}

    def labels(self) -> Iterator[Values]:
        """See `Rows`; there are none, since targets say what belongs together."""
        return iter(())


def texts_of_pairs(samples: Samples, *, scored: bool) -> Samples:
    """The texts of a split of pairs, (2 N,), with targets (2 N, 4); those of a corpus as they are.

    Parameters
    ----------
    scored : whether the column of labels holds the pairs' scores.

    Raises
    ------
    DataError : a score isn't a finite number of at least 0; the message names the row.
    """
    if isinstance(samples.rows, TextsOfCorpus):
        return Samples(samples.rows, samples.indices, samples.rows.targets[samples.indices])
    count = len(samples)
    numbers = np.empty((count, 2))
    known: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
    for start in range(0, count, _TOGETHER):
        positions = np.arange(start, min(start + _TOGETHER, count), dtype=np.int64)
        found = samples.fetch(positions)
        for side, name in enumerate(("text", "text_pair")):
            for position, text in zip(positions.tolist(), found[name], strict=True):
                key = hashlib.blake2b(text.encode(), digest_size=16).digest()
                numbers[position, side] = known[side].setdefault(key, position)
    scores = _scores(samples) if scored else np.full(count, np.nan)
    pairs = np.column_stack([numbers, np.zeros(count), scores])
    targets = np.repeat(pairs, 2, axis=0)
    targets[1::2, IS_DOCUMENT] = 1
    indices = np.repeat(2 * samples.indices, 2)
    indices[1::2] += 1
    return Samples(TextsOfPairs(samples.rows), indices, targets)


def of_pairs(samples: Samples) -> bool:
    """Whether the samples are texts of queries and documents, whose targets say which belong
    together."""
    return isinstance(samples.rows, TextsOfPairs | TextsOfCorpus)


def pairs_of(samples: Samples) -> Samples:
    """The pairs whose texts these are, or the samples themselves if they are no pairs' texts."""
    if not isinstance(samples.rows, TextsOfPairs):
        return samples
    every = np.arange(0, len(samples), 2, dtype=np.int64)
    return Samples(samples.rows.pairs, samples.indices[every] // 2, samples.targets[every])


def _scores(samples: Samples) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The score of each pair."""
    every = [value for values in samples.rows.labels() for value in values]
    found = np.empty(len(samples))
    for position, row in enumerate(samples.indices.tolist()):
        value = every[row]
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not np.isfinite(value) or value < 0:
            raise DataError(
                f"row {row} of split '{samples.rows.split}': the score of a pair must be a finite "
                f"number of at least 0. Got {clipped(repr(value))}."
            )
        found[position] = value
    return found
