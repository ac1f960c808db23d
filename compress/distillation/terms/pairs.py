"""The terms on pairs of queries and documents."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from compress.core.batch import PAIRS
from compress.core.context import Batch, Pooling
from compress.data.texts.pairs import DOCUMENT, IS_DOCUMENT, QUERY, SCORE
from compress.distillation import losses
from compress.distillation.answers import Answers
from compress.distillation.options import InBatchNegatives, MarginMse
from compress.distillation.terms.sentence import embeddings
from compress.distillation.terms.term import Term
from compress.errors import StageError

NEGATIVES, MARGINS = "in_batch_negatives", "margin_mse"


class InBatchNegativesTerm(Term):
    """The term of `compress.distillation.options.InBatchNegatives`.

    Parameters
    ----------
    pooling : the way in which an embedding is made from those of the tokens.
    """

    def __init__(self, options: InBatchNegatives, *, pooling: Pooling) -> None:
        super().__init__()
        self._options, self._pooling = options, pooling

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        pairs = pairs_in(batch)
        found = embeddings(student, batch, pooling=self._pooling)
        loss = losses.in_batch_negatives(
            found[pairs.queries],
            found[pairs.queries + 1],
            relevant=pairs.relevant,
            temperature=self._options.temperature,
        )
        return {NEGATIVES: self._options.weight * loss}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        return {NEGATIVES: int(pairs_in(batch).relevant.diagonal().sum())}


class MarginMseTerm(Term):
    """The term of `compress.distillation.options.MarginMse`.

    Parameters
    ----------
    pooling : the way in which an embedding is made from those of the tokens.
    """

    reads_logits = True

    def __init__(self, options: MarginMse, *, pooling: Pooling) -> None:
        super().__init__()
        self._options, self._pooling = options, pooling

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        pairs = pairs_in(batch)
        found = (embeddings(each, batch, pooling=self._pooling) for each in (student, teacher))
        loss = losses.embedding_margin_mse(
            *(
                vectors[places]
                for vectors in found
                for places in (pairs.queries, pairs.queries + 1)
            ),
            relevant=pairs.relevant,
        )
        return {MARGINS: self._options.weight * loss}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        relevant = pairs_in(batch).relevant
        return {MARGINS: int((relevant.diagonal() & ~relevant.all(1)).sum())}


class PairsOfBatch(NamedTuple):
    """The whole pairs of a batch: a query, and its document as the next text.

    Attributes
    ----------
    queries : (P,) places of the queries in the batch.
    relevant : bool (P, P): whether a pair's document is relevant to another's query, as far as the
        batch says.
    """

    queries: Tensor
    relevant: Tensor


def pairs_in(batch: Batch) -> PairsOfBatch:
    """Return the pairs of a batch. A text whose other half another batch has is left out.

    Raises
    ------
    StageError : the samples are no pairs.
    """
    if PAIRS not in batch:
        raise StageError(
            f"'losses.{NEGATIVES}' and 'losses.{MARGINS}' need queries with their documents: name "
            "both columns with 'data.columns' ('text' and 'text_pair')."
        )
    rows = batch[PAIRS]
    is_document = rows[:, IS_DOCUMENT] == 1
    alike = (rows[1:, [QUERY, DOCUMENT]] == rows[:-1, [QUERY, DOCUMENT]]).all(1)
    queries = torch.nonzero(is_document[1:] & ~is_document[:-1] & alike)[:, 0]
    pairs = rows[queries]
    gains = pairs[:, SCORE].nan_to_num(nan=1.0) > 0
    same_query = pairs[:, QUERY, None] == pairs[None, :, QUERY]
    same_document = pairs[:, DOCUMENT, None] == pairs[None, :, DOCUMENT]
    # (i, j): another pair k says so, whose query is that of i and whose document that of j.
    said = (same_query & gains[None, :]).double() @ same_document.double()
    return PairsOfBatch(queries, said > 0)
