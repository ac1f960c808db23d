"""Losses on pairs of a query and a document; the other documents of a batch are negatives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.distillation.losses.rows import (
    average,
    check_mask,
    check_shape,
    precise,
    products,
    unit,
)


def in_batch_negatives(
    queries: Tensor, documents: Tensor, *, relevant: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy of each query's own document among all documents of the batch.

    The logits are cosines divided by the temperature. It is InfoNCE (van den Oord et al., 2018,
    arXiv:1807.03748) with the negatives of a batch (Henderson et al., 2017, arXiv:1705.00652),
    known as multiple negatives ranking loss.

    Parameters
    ----------
    queries, documents : (P, H), side by side.
    relevant : bool, (P, P): whether a document is relevant to a query. Documents that are relevant
        besides a query's own are no negatives of it. A query whose own isn't relevant doesn't
        count, while that document is a negative.

    Returns
    -------
    A scalar of at least 0, averaged over the queries that count.

    Raises
    ------
    StageError : the shapes differ.
    """
    _check(queries, documents, relevant)
    cosines = products(unit(precise(queries)), unit(precise(documents)))
    own = torch.eye(len(queries), dtype=torch.bool, device=queries.device)
    logits = (cosines / temperature).masked_fill(relevant & ~own, -torch.inf)
    counted = relevant.diagonal()
    targets = torch.arange(len(queries), device=queries.device)[counted]
    return average(F.cross_entropy(logits[counted], targets, reduction="none"))


def embedding_margin_mse(
    queries: Tensor,
    documents: Tensor,
    teacher_queries: Tensor,
    teacher_documents: Tensor,
    *,
    relevant: Tensor,
) -> Tensor:
    """Mean squared difference of a student's margins from its teacher's.

    A margin is a query's cosine to its own document less that to another of the batch that isn't
    relevant to it (margin-MSE: Hofstätter et al., 2020, arXiv:2010.02666, where scores are those of
    any model). The widths of both models may differ.

    Parameters
    ----------
    queries, documents : (P, H), side by side; `teacher_queries` and `teacher_documents` (P, Ht).
    relevant : bool, (P, P), see `in_batch_negatives`.

    Returns
    -------
    A scalar of at least 0, averaged over the margins of each query that counts and has one.

    Raises
    ------
    StageError : the shapes differ.
    """
    _check(queries, documents, relevant)
    _check(teacher_queries, teacher_documents, relevant)
    ours, theirs = (
        products(unit(precise(one)), unit(precise(other)))
        for one, other in ((queries, documents), (teacher_queries, teacher_documents))
    )
    counted = relevant.diagonal()[:, None] & ~relevant
    off = (ours.diagonal()[:, None] - ours) - (theirs.diagonal()[:, None] - theirs)
    margins = counted.sum(1)
    each = off.square().masked_fill(~counted, 0).sum(1)[margins > 0]
    return average(each / margins[margins > 0])


def _check(queries: Tensor, documents: Tensor, relevant: Tensor) -> None:
    check_shape("documents", documents.shape, queries.shape)
    check_shape("relevant", relevant.shape, torch.Size((len(queries), len(queries))))
    check_mask(relevant)
