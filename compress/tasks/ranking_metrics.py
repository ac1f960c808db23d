"""Metrics of one query's ranking: reciprocal rank, recall, NDCG, and average precision.

Documents of equal scores have no order. Each metric is its expected value over all orders of such
documents (McSherry & Najork, "Computing information retrieval performance measures efficiently in
the presence of tied scores", ECIR 2008), so that a model that scores all alike gains nothing by the
order of the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Integers = NDArray[np.integer[Any]]


class Placed(NamedTuple):
    """Where a ranking places the R relevant documents of one query, those with a gain above 0.

    Attributes
    ----------
    gains : how relevant each is (R,), above 0.
    higher : for each the number of documents with a higher score (R,).
    tied : for each the number of documents with its score, itself included (R,).
    """

    gains: Floats
    higher: Integers
    tied: Integers


def placed(scores: Floats, gains: Floats) -> Placed:
    """Place the relevant documents of one query.

    Parameters
    ----------
    scores : score of each document (C,); the highest is ranked first.
    gains : how relevant each document is (C,); 0 for documents that aren't.
    """
    relevant = gains > 0
    ordered = np.sort(scores)
    ends = np.searchsorted(ordered, scores[relevant], side="right")
    begins = np.searchsorted(ordered, scores[relevant], side="left")
    return Placed(np.asarray(gains[relevant], np.float64), len(scores) - ends, ends - begins)


def reciprocal_rank(found: Placed, *, most: int) -> float:
    """Return 1 / the rank of the first relevant document; 0 if that is below the first `most`.

    Its mean over queries is MRR@`most`. NaN if nothing is relevant.
    """
    if not len(found.gains):
        return float("nan")
    first = int(found.higher.min())
    at = found.higher == first
    tied, relevant = int(found.tied[at][0]), int(at.sum())
    value, nothing_yet = 0.0, 1.0
    for step in range(min(tied - relevant + 1, most - first)):
        here = relevant / (tied - step)
        value += nothing_yet * here / (first + step + 1)
        nothing_yet *= 1 - here
    return value


def recall(found: Placed, *, most: int) -> float:
    """Return the fraction of the relevant documents that are among the first `most`.

    NaN if nothing is relevant.
    """
    if not len(found.gains):
        return float("nan")
    return float((np.clip(most - found.higher, 0, found.tied) / found.tied).mean())


def average_precision(found: Placed) -> float:
    """Return the mean over the relevant documents of the precision at the rank of each.

    Its mean over queries is MAP, as trec_eval has it. NaN if nothing is relevant.
    """
    if not len(found.gains):
        return float("nan")
    total = 0.0
    for first in np.unique(found.higher):
        at = found.higher == first
        relevant, tied = int(at.sum()), int(found.tied[at][0])
        ahead = np.arange(tied)
        # Of the equals ahead of a relevant one, this share is relevant too.
        share = (relevant - 1) / max(tied - 1, 1)
        precision = ((found.higher < first).sum() + 1 + ahead * share) / (first + 1 + ahead)
        total += relevant * float(precision.mean())
    return total / len(found.gains)


def ndcg(found: Placed, *, most: int) -> float:
    """Return the normalized discounted cumulative gain of the first `most` documents.

    Gains are linear and discounts are 1 / log2(rank + 1), as in trec_eval (Järvelin & Kekäläinen,
    "Cumulated gain-based evaluation of IR techniques", 2002). NaN if nothing is relevant.
    """
    if not len(found.gains):
        return float("nan")
    sums = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(most) + 2))])
    begins = np.minimum(found.higher, most)
    ends = np.minimum(found.higher + found.tied, most)
    gained = (found.gains * (sums[ends] - sums[begins]) / found.tied).sum()
    best = np.sort(found.gains)[::-1][:most]
    return float(gained / (best * np.diff(sums)[: len(best)]).sum())
