"""Losses on a teacher's relations between the samples of a batch; widths may differ.

All of them compare the samples of one micro-batch with one another. So accumulating gradients over
several small batches isn't the same as one step over a large batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.distillation.losses.rows import average, check_shape, kept, products, unit


def cosine_similarity(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Mean squared error between the two models' matrices of cosines over the batch.

    Parameters
    ----------
    student, teacher : (N, Hs) and (N, Ht); further dimensions are flattened.
    mask : bool, (N,), True = counts; None: all count.

    Returns
    -------
    A scalar, averaged over all N² pairs, a sample with itself included. Neither the length of any
    vector nor a rotation of the space matters. A zero vector has cosine 0 with everything.

    Raises
    ------
    StageError : not the same number of samples.
    """
    first, second = _vectors(student, teacher, mask)
    first, second = unit(first), unit(second)
    return average((products(first, first) - products(second, second)).square())


def similarity_preserving(
    student: Tensor, teacher: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    """‖Ĝt - Ĝs‖² / N² (similarity-preserving: Tung & Mori, ICCV 2019, arXiv:1907.09682).

    G = Q Qᵀ of a model's activations, (N, N); Ĝ is G with each row at length 1. So neither a common
    scale of all activations nor a rotation matters, but the ratios of their lengths do.

    Parameters
    ----------
    student, teacher : (N, Hs) and (N, Ht); further dimensions are flattened, as the paper does.
    mask : bool, (N,), True = counts; None: all count.

    Returns
    -------
    A scalar: squares summed over the matrix and divided by N², as in the paper.

    Raises
    ------
    StageError : not the same number of samples.
    """
    first, second = _vectors(student, teacher, mask)
    return average((unit(products(first, first)) - unit(products(second, second))).square())


def rkd_distance(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Huber loss between normalised distances (RKD-D: Park et al., CVPR 2019, arXiv:1904.05068).

    A distance is divided by the mean of its own model's distances over the batch. Distances of 0
    are left out of the mean, as in the authors' code. The Huber loss has its threshold at 1.

    Parameters
    ----------
    student, teacher : (N, Hs) and (N, Ht); further dimensions are flattened.
    mask : bool, (N,), True = counts; None: all count.

    Returns
    -------
    A scalar, averaged over the N (N - 1) ordered pairs of two samples; the paper sums over them,
    the authors' code divides by N². 0 for fewer than two samples.

    Raises
    ------
    StageError : not the same number of samples.
    """
    first, second = _vectors(student, teacher, mask)
    return average(
        F.smooth_l1_loss(_scaled_distances(first), _scaled_distances(second), reduction="none")
    )


def _scaled_distances(vectors: Tensor) -> Tensor:
    # Not by matmuls, which are inexact for close vectors. Torch's gradient of a distance of 0 is 0.
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    distances = distances[_all_different(len(vectors), 2, vectors.device)]
    mean = distances.sum() / (distances > 0).sum().clamp_min(1)
    return distances / torch.where(mean > 0, mean, torch.ones_like(mean))


def rkd_angle(student: Tensor, teacher: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Huber loss between the cosines of angles (RKD-A: Park et al., CVPR 2019, arXiv:1904.05068).

    The angle is the one at sample j between the directions to samples i and k. The Huber loss has
    its threshold at 1. It needs memory for N² differences of width H and N³ cosines.

    Parameters
    ----------
    student, teacher : (N, Hs) and (N, Ht); further dimensions are flattened.
    mask : bool, (N,), True = counts; None: all count.

    Returns
    -------
    A scalar, averaged over the N (N - 1) (N - 2) ordered triples of three samples; the paper sums
    over them, the authors' code divides by N³. 0 for fewer than three samples.

    Raises
    ------
    StageError : not the same number of samples.
    """
    first, second = _vectors(student, teacher, mask)
    return average(F.smooth_l1_loss(_angles(first), _angles(second), reduction="none"))


def _angles(vectors: Tensor) -> Tensor:
    directions = unit(vectors.unsqueeze(0) - vectors.unsqueeze(1))
    cosines = products(directions, directions)
    return cosines[_all_different(len(vectors), 3, vectors.device)]


def _all_different(count: int, indices: int, device: torch.device) -> Tensor:
    # True where the indices of a (count, ..., count) tensor all differ.
    other = ~torch.eye(count, dtype=torch.bool, device=device)
    if indices == 2:
        return other
    return other.unsqueeze(0) & other.unsqueeze(1) & other.unsqueeze(2)


def _vectors(student: Tensor, teacher: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    check_shape("student", student.shape[:1], teacher.shape[:1])
    return kept(student, mask).flatten(1), kept(teacher, mask).flatten(1)
