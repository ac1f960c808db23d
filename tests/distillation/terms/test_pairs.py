"""Which texts of a batch are pairs, and the parts of the loss on them."""

import math

import pytest
import torch

from compress.core.batch import ATTENTION_MASK, PAIRS
from compress.distillation import losses
from compress.distillation.answers import Answers
from compress.distillation.options import InBatchNegatives, MarginMse
from compress.distillation.terms.pairs import InBatchNegativesTerm, MarginMseTerm, pairs_in
from compress.errors import StageError

NONE = math.nan
ROWS = [
    [3, 9, 1, NONE],  # its query is in another batch
    [0, 0, 0, NONE],
    [0, 0, 1, NONE],
    [0, 2, 0, NONE],  # the first query again, with another document
    [0, 2, 1, NONE],
    [4, 0, 0, 0.0],  # the first document, which isn't relevant to this query
    [4, 0, 1, 0.0],
    [6, 7, 0, NONE],  # its document is in another batch
]


def batch(rows=ROWS):
    mask = torch.ones(len(rows), 3, dtype=torch.int64)
    mask[::2, 2] = 0
    return {ATTENTION_MASK: mask, PAIRS: torch.tensor(rows, dtype=torch.float64)}


def answers(seed, width=4):
    generator = torch.Generator().manual_seed(seed)
    return Answers(torch.randn(len(ROWS), 3, width, generator=generator))


def pooled(given):
    mask = batch()[ATTENTION_MASK].unsqueeze(-1).float()
    return (given.logits * mask).sum(1) / mask.sum(1)


def test_pairs_stand_side_by_side_and_know_what_is_relevant():
    found = pairs_in(batch())
    assert found.queries.tolist() == [1, 3, 5]
    assert found.relevant.tolist() == [[True, True, True], [True, True, True], [False] * 3]


def test_parts_are_weighted_losses_of_embeddings():
    other = [[row[0] + at // 2, row[1] + at // 2, *row[2:]] for at, row in enumerate(ROWS)]
    for at in (1, 3, 5):  # pairs of their own
        other[at][:2] = other[at + 1][:2]
        other[at][3] = other[at + 1][3] = NONE
    given, relevant = batch(other), torch.eye(3, dtype=torch.bool)
    assert torch.equal(pairs_in(given).relevant, relevant)
    student, teacher = answers(0), answers(1, width=6)
    ours, theirs = pooled(student), pooled(teacher)
    queries, documents = [1, 3, 5], [2, 4, 6]
    term = InBatchNegativesTerm(InBatchNegatives(weight=2.0, temperature=0.1), pooling="mean")
    wanted = losses.in_batch_negatives(
        ours[queries], ours[documents], relevant=relevant, temperature=0.1
    )
    torch.testing.assert_close(
        term.parts(student, teacher, given), {"in_batch_negatives": 2 * wanted}
    )
    assert term.counts(given) == {"in_batch_negatives": 3}
    margins = MarginMseTerm(MarginMse(weight=3.0), pooling="mean")
    wanted = losses.embedding_margin_mse(
        ours[queries], ours[documents], theirs[queries], theirs[documents], relevant=relevant
    )
    torch.testing.assert_close(margins.parts(student, teacher, given), {"margin_mse": 3 * wanted})
    assert margins.counts(given) == {"margin_mse": 3}


def test_queries_without_a_negative_have_no_margin():
    assert MarginMseTerm(MarginMse(), pooling="mean").counts(batch()) == {"margin_mse": 0}
    assert InBatchNegativesTerm(InBatchNegatives(), pooling="mean").counts(batch()) == {
        "in_batch_negatives": 2
    }


def test_single_texts_are_refused():
    given = batch()
    del given[PAIRS]
    with pytest.raises(StageError, match="need queries with their documents"):
        pairs_in(given)
