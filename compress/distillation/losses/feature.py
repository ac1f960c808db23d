"""Losses on a teacher's hidden states and feature maps."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from compress.distillation.losses.rows import average, check_shape, kept, unit


def feature(
    student: Tensor, teacher: Tensor, *, normalize: bool = False, mask: Tensor | None = None
) -> Tensor:
    """Mean squared error between features (FitNets: Romero et al., ICLR 2015, arXiv:1412.6550).

    FitNets has half the squared distance; this is the mean over the H features, as in TinyBERT
    (Jiao et al., 2020, arXiv:1909.10351). With `normalize` it is the squared distance of the
    directions, 2 - 2 cos, divided by H. Patient KD (Sun et al., 2019, arXiv:1908.09355) doesn't
    divide by H.

    Parameters
    ----------
    student, teacher : (..., H), such as (N, H), (N, S, H), or maps with the channels last. If
        widths or sizes differ, project and use `pooled_to_fit` first.
    normalize : first give every vector of H features length 1; a zero vector stays zero.
    mask : bool, (N,) or (N, S), True = counts; None: all count.

    Returns
    -------
    A scalar, averaged over features, and over samples, counted tokens or places.

    Raises
    ------
    StageError : the shapes differ.
    """
    check_shape("student", student.shape, teacher.shape)
    student, teacher = kept(student, mask), kept(teacher, mask)
    if normalize:
        student, teacher = unit(student), unit(teacher)
    return average((student - teacher).square())


def pooled_to_fit(student_map: Tensor, teacher_map: Tensor) -> tuple[Tensor, Tensor]:
    """Return both maps, average-pooled to the smaller height and the smaller width of the two.

    Parameters
    ----------
    student_map, teacher_map : (N, C, H, W); all but N may differ.

    Returns
    -------
    (N, Cs, H, W) and (N, Ct, H, W); a map that has that size already is unchanged.
    """
    size = (
        min(student_map.shape[-2], teacher_map.shape[-2]),
        min(student_map.shape[-1], teacher_map.shape[-1]),
    )
    return _pooled(student_map, size), _pooled(teacher_map, size)


def _pooled(values: Tensor, size: tuple[int, int]) -> Tensor:
    return values if values.shape[-2:] == size else F.adaptive_avg_pool2d(values, size)
