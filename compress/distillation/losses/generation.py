"""Losses on a teacher's next tokens."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from compress.distillation.losses.probabilities import kl, log_probabilities
from compress.distillation.losses.rows import average, check_shape, kept
from compress.errors import StageError, expected, unknown

Divergence = Literal["forward", "reverse", "jsd"]


def shift(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Align each position's output with the token that it predicts, the next one.

    An output counts if its next token does: `labels != -100` after the shift is the mask for both
    the labels and the teacher.

    Parameters
    ----------
    outputs : (N, S, V) logits or (N, S, H) last hidden states.
    labels : (N, S), the ids of the same positions; -100 where a token doesn't count.

    Returns
    -------
    (N, S - 1, ...) without the last position, and (N, S - 1) without the first. Both are views.

    Raises
    ------
    StageError : the shapes don't fit each other.
    """
    check_shape("labels", labels.shape, outputs.shape[:2])
    return outputs[:, :-1], labels[:, 1:]


def token_divergence(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    divergence: Divergence = "forward",
    temperature: float = 1.0,
    jsd_beta: float = 0.5,
    mask: Tensor | None = None,
) -> Tensor:
    """T² times a divergence of the teacher's P and the student's Q for the next token.

    "forward" is KL(P ‖ Q), which covers all modes of the teacher, and equals `response`. "reverse"
    is KL(Q ‖ P), which keeps to the teacher's main modes (MiniLLM: Gu et al., ICLR 2024,
    arXiv:2306.08543). "jsd" is the generalised Jensen-Shannon divergence of GKD (Agarwal et al.,
    ICLR 2024, arXiv:2306.13649): β KL(P ‖ M) + (1 - β) KL(Q ‖ M) with M = β P + (1 - β) Q. With
    β near 0 it is β times the forward KL, with β near 1 it is 1 - β times the reverse KL. The
    papers have no T²; here it multiplies all three, so that temperatures are comparable.

    Parameters
    ----------
    student_logits, teacher_logits : (N, S, V) of the same positions, or (M, V).
    divergence : "forward", "reverse" or "jsd".
    temperature : T, which divides both before the softmax.
    jsd_beta : β in (0, 1), the teacher's share of the mixture; for "jsd" only.
    mask : bool, (N, S) or (M,), True = counts; None: all count.

    Returns
    -------
    A scalar in nats, averaged over counted tokens.

    Raises
    ------
    StageError : the shapes differ, the divergence is another one, or β is outside (0, 1).
    """
    check_shape("student_logits", student_logits.shape, teacher_logits.shape)
    student = log_probabilities(kept(student_logits, mask), temperature=temperature)
    teacher = log_probabilities(kept(teacher_logits, mask), temperature=temperature)
    if divergence == "forward":
        values = kl(teacher, student)
    elif divergence == "reverse":
        values = kl(student, teacher)
    elif divergence == "jsd":
        values = _jsd(teacher, student, beta=jsd_beta)
    else:
        raise StageError(unknown("divergence", divergence, ("forward", "reverse", "jsd")))
    return temperature**2 * average(values)


def _jsd(teacher: Tensor, student: Tensor, *, beta: float) -> Tensor:
    if not 0 < beta < 1:
        raise StageError(expected("jsd_beta", "a float between 0 and 1, both excluded", beta))
    mixture = torch.logaddexp(teacher + math.log(beta), student + math.log1p(-beta))
    return beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture)
