"""Losses on a teacher's softened answers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.core.batch import IGNORED
from compress.distillation.losses.probabilities import LOWEST, kl, log_probabilities
from compress.distillation.losses.rows import average, check_shape, kept, precise

_SMALLEST_VARIANCE = 1e-8


def response(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float,
    mask: Tensor | None = None,
    logit_standardization: bool = False,
) -> Tensor:
    """T² · KL(teacher ‖ student) of the softened probabilities (Hinton et al., 2015).

    T² keeps the gradient's size independent of the temperature (arXiv:1503.02531); several
    libraries leave it out.

    Parameters
    ----------
    student_logits, teacher_logits : (N, C), or (N, S, V) of tokens.
    temperature : T, which divides both before the softmax.
    mask : bool, (N,) or (N, S), True = counts; None: all count.
    logit_standardization : first give each row of both mean 0 and deviation 1. The student then
        learns the order and proportions of the logits, not their scale (Sun et al., CVPR 2024,
        arXiv:2403.01427). The variance is divided by C as in the paper; the authors' code divides
        by C - 1.

    Returns
    -------
    A scalar in nats, averaged over samples or counted tokens. It is 0, with gradient 0, if the two
    are equal up to a constant for each row.

    Raises
    ------
    StageError : shapes that differ.
    """
    check_shape("student_logits", student_logits.shape, teacher_logits.shape)
    student, teacher = kept(student_logits, mask), kept(teacher_logits, mask)
    if logit_standardization:
        student, teacher = _standardized(student), _standardized(teacher)
    return temperature**2 * average(
        kl(
            log_probabilities(teacher, temperature=temperature),
            log_probabilities(student, temperature=temperature),
        )
    )


def _standardized(logits: Tensor) -> Tensor:
    # The least variance keeps constant logits (an untrained head of zeros) at 0 without a NaN.
    return F.layer_norm(logits, logits.shape[-1:], eps=_SMALLEST_VARIANCE)


def response_top_k(
    student_logits: Tensor,
    *,
    indices: Tensor,
    teacher_logits: Tensor,
    teacher_tail: Tensor,
    temperature: float,
    mask: Tensor | None = None,
) -> Tensor:
    """T² · KL(teacher ‖ student) if only the teacher's K largest logits are known.

    All other classes form one bucket, whose mass is known for both models, so the divergence is
    between K + 1 probabilities. It never exceeds the divergence between all C (log sum inequality),
    and equals it at K = C. It doesn't say how the student should spread its mass in the bucket.

    Parameters
    ----------
    student_logits : (N, C) or (N, S, V).
    indices : (..., K) int64, the kept classes of each row, without repeats.
    teacher_logits : (..., K), logits of these classes, not divided by the temperature.
    teacher_tail : (...,), logsumexp over all other classes of logits / temperature; -inf if there
        are no others.
    temperature : T, with which the tail was computed.
    mask : bool, (N,) or (N, S), True = counts; None: all count.

    Returns
    -------
    A scalar in nats, averaged over samples or counted tokens.

    Raises
    ------
    StageError : shapes that don't belong together.
    """
    check_shape("indices", indices.shape[:-1], student_logits.shape[:-1])
    check_shape("teacher_logits", teacher_logits.shape, indices.shape)
    check_shape("teacher_tail", teacher_tail.shape, indices.shape[:-1])
    if mask is not None:
        indices = indices[mask]
    student = kept(student_logits, mask) / temperature
    teacher = kept(teacher_logits, mask) / temperature
    student_tail = student.scatter(-1, indices, LOWEST).logsumexp(-1)
    return temperature**2 * average(
        kl(
            _buckets(teacher, kept(teacher_tail, mask)),
            _buckets(student.gather(-1, indices), student_tail),
        )
    )


def _buckets(scores: Tensor, tail: Tensor) -> Tensor:
    return log_probabilities(torch.cat([scores, tail.unsqueeze(-1)], dim=-1))


def decoupled(
    student_logits: Tensor,
    teacher_logits: Tensor,
    targets: Tensor,
    *,
    temperature: float,
    alpha: float,
    beta: float,
    mask: Tensor | None = None,
) -> Tensor:
    """T² · (alpha · TCKD + beta · NCKD) (DKD: Zhao et al., CVPR 2022, arXiv:2203.08679).

    TCKD is KL(teacher ‖ student) between two probabilities: that of the labelled class, and that of
    all others together. NCKD is KL(teacher ‖ student) of the softmax over the others alone. With
    alpha = 1 and beta = the teacher's mass on the others, the loss equals `response`. So from a
    confident teacher `response` learns little about the others. T² multiplies both parts, as in the
    authors' code.

    Parameters
    ----------
    student_logits, teacher_logits : (N, C), or (N, S, V) of tokens; two classes or more.
    targets : (N,) or (N, S) int, the labelled class; a row with -100 doesn't count.
    temperature : T, which divides both before the softmax.
    alpha, beta : factors of the two parts; the paper has 1 and 8 for most pairs on CIFAR-100.
    mask : bool, of the targets' shape, True = counts; None: all count.

    Returns
    -------
    A scalar in nats, averaged over the rows that count.

    Raises
    ------
    StageError : shapes that don't belong together.
    """
    check_shape("student_logits", student_logits.shape, teacher_logits.shape)
    check_shape("targets", targets.shape, student_logits.shape[:-1])
    labelled = targets != IGNORED
    mask = labelled if mask is None else mask & labelled
    classes = targets[mask].long().unsqueeze(-1)
    student_pair, student_others = _split(kept(student_logits, mask) / temperature, classes)
    teacher_pair, teacher_others = _split(kept(teacher_logits, mask) / temperature, classes)
    target_part = kl(teacher_pair, student_pair)
    others_part = kl(teacher_others, student_others)
    return temperature**2 * average(alpha * target_part + beta * others_part)


def _split(scores: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    # Log-probabilities of (the class, not the class), and of the others among themselves.
    others = scores.scatter(-1, classes, LOWEST)
    pair = _buckets(scores.gather(-1, classes), others.logsumexp(-1))
    return pair, log_probabilities(others)


def binary_response(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float,
    mask: Tensor | None = None,
) -> Tensor:
    """T² · KL(teacher ‖ student) of independent sigmoids, for heads of several labels.

    Each class is a separate decision: KL between Bernoulli probabilities, as in Yang et al. (ICCV
    2023, arXiv:2308.06453). They sum over classes. Here it is the mean over classes, as in
    `binary_labels`, so that the ratio of the two doesn't depend on the number of classes.

    Parameters
    ----------
    student_logits, teacher_logits : (N, C); C = 1 is the binary head, for which this equals
        `response` of the logits (z, 0).
    temperature : T, which divides both before the sigmoid.
    mask : bool, (N,), True = counts; None: all count.

    Returns
    -------
    A scalar in nats, averaged over samples and classes.

    Raises
    ------
    StageError : shapes that differ.
    """
    check_shape("student_logits", student_logits.shape, teacher_logits.shape)
    student = _yes_and_no(kept(student_logits, mask), temperature=temperature)
    teacher = _yes_and_no(kept(teacher_logits, mask), temperature=temperature)
    return temperature**2 * average(kl(teacher, student))


def _yes_and_no(logits: Tensor, *, temperature: float) -> Tensor:
    scores = precise(logits) / temperature
    return torch.stack([F.logsigmoid(scores), F.logsigmoid(-scores)], dim=-1).clamp_min(LOWEST)
