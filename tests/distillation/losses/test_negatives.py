"""Losses on pairs against values by hand and torch's own."""

import math

import pytest
import torch
from torch.nn import functional as F

from compress.distillation import losses
from compress.errors import StageError

OWN = torch.eye(3, dtype=torch.bool)


def vectors(count=3, width=5, *, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def circle(*degrees):
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_own_documents_are_told_from_those_of_others():
    # Cosines (query, document): 1 and 0, then 0.5 and √3 / 2.
    found = losses.in_batch_negatives(
        circle(0, 60), circle(0, 90), relevant=torch.eye(2, dtype=torch.bool), temperature=0.5
    )
    rows = [(2 * 1, 2 * 0), (2 * math.sqrt(3) / 2, 2 * 0.5)]
    wanted = [math.log(math.exp(own) + math.exp(other)) - own for own, other in rows]
    assert found.item() == pytest.approx(sum(wanted) / 2)


def test_it_is_the_cross_entropy_of_cosines_and_lengths_do_not_count():
    queries, documents = vectors(seed=1), vectors(seed=2)
    cosines = F.cosine_similarity(queries[:, None], documents[None], dim=-1)
    wanted = F.cross_entropy(cosines / 0.05, torch.arange(3))
    for scale in (1, 7):
        found = losses.in_batch_negatives(
            scale * queries, documents, relevant=OWN, temperature=0.05
        )
        torch.testing.assert_close(found, wanted)


def test_another_relevant_document_is_no_negative():
    queries, documents = vectors(seed=1), vectors(seed=2)
    relevant = OWN.clone()
    relevant[0, 2] = True
    found = losses.in_batch_negatives(queries, documents, relevant=relevant, temperature=1)
    cosines = F.cosine_similarity(queries[:, None], documents[None], dim=-1)
    first = F.cross_entropy(cosines[:1, :2], torch.tensor([0]))
    others = F.cross_entropy(cosines[1:], torch.tensor([1, 2]), reduction="sum")
    torch.testing.assert_close(found, (first + others) / 3)


def test_a_document_that_is_not_relevant_is_a_negative_only():
    queries, documents = vectors(seed=1), vectors(seed=2)
    relevant = OWN.clone()
    relevant[2, 2] = False
    found = losses.in_batch_negatives(queries, documents, relevant=relevant, temperature=1)
    cosines = F.cosine_similarity(queries[:, None], documents[None], dim=-1)
    torch.testing.assert_close(found, F.cross_entropy(cosines[:2], torch.tensor([0, 1])))
    none = losses.in_batch_negatives(
        queries, documents, relevant=torch.zeros_like(OWN), temperature=1
    )
    assert none == 0


def test_margins_by_hand():
    # The student's margins: 1 - 0 and √3 / 2 - 0.5; the teacher's: 1 - 0 and 1 - 0.
    found = losses.embedding_margin_mse(
        circle(0, 60),
        circle(0, 90),
        circle(0, 90),
        circle(0, 90),
        relevant=torch.eye(2, dtype=torch.bool),
    )
    assert found.item() == pytest.approx((math.sqrt(3) / 2 - 0.5 - 1) ** 2 / 2)


def test_margins_of_the_teacher_itself_leave_nothing_to_learn():
    queries, documents = vectors(seed=1).requires_grad_(), vectors(seed=2)
    turned = torch.linalg.qr(vectors(8, 5, seed=3))[0]  # keeps cosines, in another width
    found = losses.embedding_margin_mse(
        queries, documents, queries.detach() @ turned.T, documents @ turned.T, relevant=OWN
    )
    found.backward()
    assert found.item() == pytest.approx(0, abs=1e-10)
    assert queries.grad.abs().max() < 1e-5


def test_only_margins_to_what_is_not_relevant_count():
    given = [vectors(seed=seed) for seed in range(4)]
    relevant = torch.ones_like(OWN)
    relevant[0, 1] = False
    found = losses.embedding_margin_mse(*given, relevant=relevant)
    cosine = F.cosine_similarity
    ours = cosine(given[0][0], given[1][0], dim=0) - cosine(given[0][0], given[1][1], dim=0)
    theirs = cosine(given[2][0], given[3][0], dim=0) - cosine(given[2][0], given[3][1], dim=0)
    torch.testing.assert_close(found, (ours - theirs).square())
    assert losses.embedding_margin_mse(*given, relevant=torch.ones_like(OWN)) == 0


@pytest.mark.parametrize(
    ("documents", "relevant", "words"),
    [
        (vectors(2), OWN, "'documents' must be of shape"),
        (vectors(), OWN[:2], "'relevant' must be of shape"),
        (vectors(), OWN.long(), "'mask' must be a bool"),
    ],
)
def test_other_shapes_are_refused(documents, relevant, words):
    with pytest.raises(StageError, match=words):
        losses.in_batch_negatives(vectors(), documents, relevant=relevant, temperature=1)
