"""Losses on a teacher's attention."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from compress.distillation.losses.feature import pooled_to_fit
from compress.distillation.losses.probabilities import kl, log_probabilities
from compress.distillation.losses.rows import (
    average,
    check_shape,
    kept,
    precise,
    products,
    unit,
)
from compress.errors import StageError, expected, unknown

Measure = Literal["mse", "kl"]

_SMALLEST_PROBABILITY = 1e-30


def attention_transfer(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Attention transfer for CNNs (Zagoruyko & Komodakis, ICLR 2017, arXiv:1612.03928).

    A map's attention is the sum over channels of its squares, as a vector over all places with
    length 1. The paper's formula has the distance of the two vectors. The authors' code, and this
    one, has the mean of the squared differences, whose gradient is 0 if the two are equal. The
    authors weigh it by 1000.

    Parameters
    ----------
    student_map, teacher_map : (N, C, H, W). Channels and sizes may differ; the larger map is
        average-pooled to the size of the smaller.

    Returns
    -------
    A scalar, averaged over samples and places.

    Raises
    ------
    StageError : not the same number of samples.
    """
    check_shape("student_map", student_map.shape[:1], teacher_map.shape[:1])
    student, teacher = pooled_to_fit(precise(student_map), precise(teacher_map))
    return average((_attention(student) - _attention(teacher)).square())


def _attention(values: Tensor) -> Tensor:
    return unit(values.square().sum(1).flatten(1))


def attention_maps(
    student: Tensor, teacher: Tensor, *, divergence: Measure = "mse", mask: Tensor | None = None
) -> Tensor:
    """Return the difference between the attention probabilities of two transformer layers.

    "mse" is TinyBERT's (Jiao et al., 2020, arXiv:1909.10351), but on probabilities instead of the
    scores before the softmax. "kl" is KL(teacher ‖ student) of each query's probabilities, as in
    MiniLM (Wang et al., 2020, arXiv:2002.10957). A query's probabilities count only at counted
    keys; for "kl" these are divided by their sum. Probabilities below 1e-30 count as 0.

    Parameters
    ----------
    student, teacher : (N, heads, S, S), queries by keys; see `average_heads` where heads differ.
    divergence : "mse" or "kl".
    mask : bool, (N, S), True = counts, both as a query and as a key; None: all count.

    Returns
    -------
    A scalar, averaged over counted queries, over heads, and for "mse" over a query's counted keys.

    Raises
    ------
    StageError : shapes that differ; another divergence.
    """
    check_shape("student", student.shape, teacher.shape)
    first, second = _by_query(student, mask), _by_query(teacher, mask)
    keys = _counted_keys(student, mask)
    if divergence == "mse":
        squares = _without(first - second, keys).square().sum(-1)
        return average(squares / keys.sum(-1).clamp_min(1))
    if divergence == "kl":
        return average(kl(_renormalized(second, keys), _renormalized(first, keys)))
    raise StageError(unknown("divergence", divergence, ("mse", "kl")))


def _by_query(maps: Tensor, mask: Tensor | None) -> Tensor:
    # (M, heads, S) of the counted queries, or (N, S, heads, S) of all.
    return kept(maps.transpose(1, 2), mask)


def _counted_keys(maps: Tensor, mask: Tensor | None) -> Tensor:
    # Mask of the keys that count, broadcastable to the result of `_by_query`.
    count, _, length, _ = maps.shape
    if mask is None:
        return torch.ones(1, 1, 1, length, dtype=torch.bool, device=maps.device)
    check_shape("mask", mask.shape, torch.Size((count, length)))
    return mask.unsqueeze(1).expand(-1, length, -1)[mask].unsqueeze(1)


def _without(values: Tensor, keys: Tensor) -> Tensor:
    return torch.where(keys, values, torch.zeros_like(values))


def _renormalized(probabilities: Tensor, keys: Tensor) -> Tensor:
    logs = probabilities.clamp_min(_SMALLEST_PROBABILITY).log()
    return log_probabilities(logs.masked_fill(~keys, -math.inf))


def average_heads(maps: Tensor, *, heads: int) -> Tensor:
    """Return fewer heads, each the mean of adjacent heads, which are still probabilities.

    If a student and a teacher have different numbers of heads, bring both to a common divisor.

    Parameters
    ----------
    maps : (N, several times `heads`, S, S).
    heads : number of heads of the result.

    Returns
    -------
    (N, heads, S, S), in fp32.

    Raises
    ------
    StageError : `heads` doesn't divide the number of heads in `maps`.
    """
    count = maps.shape[1]
    if heads < 1 or count % heads:
        raise StageError(expected("heads", f"a divisor of {count}", heads))
    groups = (len(maps), heads, count // heads, *maps.shape[2:])
    return precise(maps).reshape(groups).mean(2)


def self_relation(
    student: Tensor, teacher: Tensor, *, heads: int, mask: Tensor | None = None
) -> Tensor:
    """KL between the relations of tokens in the queries, keys or values of a layer (MiniLM).

    A relation is softmax(X Xᵀ / √d) of each head's vectors. MiniLM relates values (Wang et al.,
    NeurIPS 2020, arXiv:2002.10957); MiniLMv2 relates queries, keys and values (Wang et al., 2021,
    arXiv:2012.15828). MiniLMv2 splits them into another number of heads, so that the models' widths
    and head counts may differ. Both papers sum several relations: call this function for each.

    Parameters
    ----------
    student, teacher : (N, S, Ds) and (N, S, Dt), all heads' vectors side by side.
    heads : of the relation; divides Ds and Dt; d is each model's own width of one head.
    mask : bool, (N, S), True = counts, both as a row and as a column; None: all count.

    Returns
    -------
    A scalar in nats, averaged over counted tokens and over heads.

    Raises
    ------
    StageError : shapes that don't belong together; heads that don't divide a width.
    """
    return query_key_relation(student, student, teacher, teacher, heads=heads, mask=mask)


def query_key_relation(
    student_queries: Tensor,
    student_keys: Tensor,
    teacher_queries: Tensor,
    teacher_keys: Tensor,
    *,
    heads: int,
    mask: Tensor | None = None,
) -> Tensor:
    """KL between the relations softmax(Q Kᵀ / √d) of a layer (MiniLM, arXiv:2002.10957).

    With the layer's own head count and no causal mask it is MiniLM's attention distribution. Other
    `heads` split queries and keys anew, as in `self_relation`.

    Parameters
    ----------
    student_queries, student_keys : (N, S, Ds), all heads' vectors side by side.
    teacher_queries, teacher_keys : (N, S, Dt), likewise.
    heads : of the relation; divides Ds and Dt; d is each model's own width of one head.
    mask : bool, (N, S), True = counts, both as a query and as a key; None: all count.

    Returns
    -------
    A scalar in nats, averaged over counted tokens and over heads.

    Raises
    ------
    StageError : shapes that don't belong together; heads that don't divide a width.
    """
    check_shape("student_queries", student_queries.shape[:2], teacher_queries.shape[:2])
    student = _relation(student_queries, student_keys, heads=heads, mask=mask)
    teacher = _relation(teacher_queries, teacher_keys, heads=heads, mask=mask)
    return average(kl(teacher, student))


def _relation(queries: Tensor, keys: Tensor, *, heads: int, mask: Tensor | None) -> Tensor:
    check_shape("keys", keys.shape, queries.shape)
    width = queries.shape[-1]
    if heads < 1 or width % heads:
        raise StageError(expected("heads", f"a divisor of the width {width}", heads))
    first, second = (_head_vectors(values, heads=heads, mask=mask) for values in (queries, keys))
    scores = products(first, second) / math.sqrt(width // heads)
    counted = _counted_keys(scores, mask)
    return log_probabilities(_by_query(scores, mask).masked_fill(~counted, -math.inf))


def _head_vectors(values: Tensor, *, heads: int, mask: Tensor | None) -> Tensor:
    # Zeros where nothing counts, as a NaN there would reach other gradients by 0 · NaN.
    values = precise(values)
    if mask is not None:
        values = _without(values, mask.unsqueeze(-1))
    count, length, width = values.shape
    return values.reshape(count, length, heads, width // heads).transpose(1, 2)
