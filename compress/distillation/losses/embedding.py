"""The loss on a teacher's embeddings."""

from __future__ import annotations

from torch import Tensor

from compress.distillation.losses.rows import average, check_shape, kept, unit


def embedding_cosine(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """1 - cos(student, teacher), averaged over the samples.

    For vectors of length 1 it is half of their squared distance, the loss by which sentence
    embeddings are distilled in Reimers and Gurevych, EMNLP 2020, arXiv:2004.09813.

    Parameters
    ----------
    student, teacher : (N, H).
    mask : bool, (N,), True = counts; None: all count.

    Returns
    -------
    A scalar between 0 and 2. A zero vector has cosine 0 with everything.

    Raises
    ------
    StageError : the shapes differ.
    """
    check_shape("student", student.shape, teacher.shape)
    first, second = unit(kept(student, mask)), unit(kept(teacher, mask))
    return average(1 - (first * second).sum(-1))
