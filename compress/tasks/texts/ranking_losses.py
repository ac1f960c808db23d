"""Losses of the scores of several queries' documents. Each takes the P pairs of a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LOWEST = -1e9
"""The score of a document of another query."""


def listwise(scores: Tensor, gains: Tensor, queries: Tensor) -> Tensor:
    """Return the cross-entropy of the softmax over each query's documents.

    The wanted share of a document is its gain's share of the query's gains (ListNet's top-one
    probabilities: Cao et al., "Learning to rank: from pairwise approach to listwise approach",
    2007). Queries without a relevant document in the batch don't count.

    Parameters
    ----------
    scores, gains : of each pair (P,).
    queries : a number of each pair's query (P,).
    """
    same = _same(queries)
    sums = (same * gains).sum(1)
    shares = gains / sums.clamp(min=torch.finfo(gains.dtype).tiny)
    counted = torch.unique(queries[sums > 0]).numel()
    loss: Tensor = -(shares * _log_softmax(scores, same)).sum() / max(counted, 1)
    return loss


def pointwise(scores: Tensor, gains: Tensor) -> Tensor:
    """Return the binary cross-entropy of each pair (P,): relevant is what has a gain above 0."""
    return F.binary_cross_entropy_with_logits(scores, (gains > 0).to(scores.dtype))


def margin_mse(student: Tensor, teacher: Tensor, gains: Tensor | None, queries: Tensor) -> Tensor:
    """Return the mean squared difference of a student's margins from its teacher's.

    A margin is the score of a document less that of one of the same query with a lower gain
    (Hofstätter et al., "Improving efficient neural ranking models with cross-architecture knowledge
    distillation", 2020). Without gains every two documents of a query have one.

    Parameters
    ----------
    student, teacher : scores of each pair (P,).
    gains : of each pair (P,), or None.
    queries : a number of each pair's query (P,).
    """
    same = _same(queries)
    counted = same if gains is None else same & (gains[:, None] > gains[None, :])
    off = (student[:, None] - student[None, :]) - (teacher[:, None] - teacher[None, :])
    loss: Tensor = (off.square() * counted).sum() / counted.sum().clamp(min=1)
    return loss


def listwise_divergence(
    student: Tensor, teacher: Tensor, queries: Tensor, *, temperature: float
) -> Tensor:
    """Return KL(teacher || student) of the softened softmax over each query's documents.

    It is averaged over queries and multiplied by the temperature squared (Hinton et al., 2015).
    """
    same = _same(queries)
    wanted = _log_softmax(teacher / temperature, same)
    got = _log_softmax(student / temperature, same)
    summed: Tensor = (wanted.exp() * (wanted - got)).sum()
    mean: Tensor = summed / torch.unique(queries).numel() * temperature**2
    return mean


def _same(queries: Tensor) -> Tensor:
    """For which pairs (P, P) the query is one."""
    return queries[:, None] == queries[None, :]


def _log_softmax(scores: Tensor, same: Tensor) -> Tensor:
    """The logarithm of each pair's share (P,) among the documents of its query."""
    return scores - torch.where(same, scores[None, :], _LOWEST).logsumexp(1)
