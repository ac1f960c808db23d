"""Default losses of an output by its role, against labels and against a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.core.batch import ATTENTION_MASK, IGNORED
from compress.errors import StageError

if TYPE_CHECKING:
    from compress.core.context import Batch
    from compress.tasks.outputs import Role


def label_loss(output: Tensor, labels: Tensor, *, role: Role) -> Tensor:
    """Return the mean loss of an output against its labels.

    Parameters
    ----------
    output : (N, …, C) scores for classes; any shape for values and features.
    labels : (N, …) class indices, -100 for none, or (N, …, C) probabilities of classes; for values
        numbers of the output's shape, NaN for none.

    Raises
    ------
    StageError : labels and output don't fit.
    """
    output = output.float()
    if role == "classes":
        return _cross_entropy(output, labels)
    if labels.shape != output.shape and labels.numel() == output.numel():
        labels = labels.reshape(output.shape)
    if labels.shape != output.shape:
        raise StageError(
            f"labels of shape {tuple(labels.shape)} don't fit an output of shape "
            f"{tuple(output.shape)}."
        )
    known = labels.isfinite()
    off = (output - torch.where(known, labels.float(), output)).square()
    return off.sum() / known.sum().clamp(min=1)


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    if labels.is_floating_point() and labels.shape == scores.shape:
        return F.cross_entropy(scores.flatten(0, -2), labels.flatten(0, -2))
    if labels.shape != scores.shape[:-1]:
        raise StageError(
            f"class labels of shape {tuple(labels.shape)} don't fit scores of shape "
            f"{tuple(scores.shape)}. They must be {tuple(scores.shape[:-1])}."
            + _other_axis(tuple(scores.shape), tuple(labels.shape))
        )
    given = labels.long().flatten()
    total = F.cross_entropy(scores.flatten(0, -2), given, ignore_index=IGNORED, reduction="sum")
    return total / (given != IGNORED).sum().clamp(min=1)


def _other_axis(scores: tuple[int, ...], labels: tuple[int, ...]) -> str:
    """Return the advice for scores whose classes lie along another axis than the last."""
    for axis in range(1, len(scores) - 1):
        if labels == scores[:axis] + scores[axis + 1 :]:
            return f" If the classes lie along axis {axis}, the output's class_axis is {axis}."
    return ""


def teacher_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    role: Role,
    temperature: float,
    huber_delta: float | None = None,
    batch: Batch,
) -> Tensor:
    """Return the mean distance of a student's output from its teacher's.

    For classes it is KL(teacher || student) of softened scores, times the temperature squared
    (Hinton et al., 2015, "Distilling the Knowledge in a Neural Network"); otherwise the mean
    squared error, or Huber's loss if there is a delta. Padding of texts doesn't count.
    """
    student, teacher = student.float(), teacher.float()
    mask = batch.get(ATTENTION_MASK)
    if mask is not None and student.ndim > 1 and student.shape[:2] == mask.shape:
        kept = mask.bool()
        if role == "classes" and student.ndim == 2:  # scores of the tokens of one text
            low = torch.finfo(student.dtype).min
            student, teacher = student.masked_fill(~kept, low), teacher.masked_fill(~kept, low)
        else:
            student, teacher = student[kept], teacher[kept]
    if role != "classes":
        if huber_delta is None:
            return F.mse_loss(student, teacher)
        return F.huber_loss(student, teacher, delta=huber_delta)
    wanted = F.log_softmax(teacher.flatten(0, -2) / temperature, dim=-1)
    got = F.log_softmax(student.flatten(0, -2) / temperature, dim=-1)
    divergence = F.kl_div(got, wanted, log_target=True, reduction="batchmean")
    return divergence * temperature**2
