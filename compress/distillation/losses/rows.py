"""What counts in a batch, and the average over it."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.errors import StageError, expected


def precise(values: Tensor) -> Tensor:
    """The values in fp32, or in float64 where they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def kept(values: Tensor, mask: Tensor | None) -> Tensor:
    """The rows that count, in fp32; the others are left out, so not even a NaN there matters.

    Parameters
    ----------
    values : (N, ...) or (N, S, ...).
    mask : bool, (N,) or (N, S), True = counts; None: all count.

    Returns
    -------
    (M, ...); or the values themselves, without a mask.

    Raises
    ------
    StageError : a mask that isn't bool.
    """
    if mask is None:
        return precise(values)
    check_mask(mask)
    return precise(values[mask])


def average(values: Tensor) -> Tensor:
    """The mean, and 0 with gradient 0 where there are no values."""
    return values.sum() / max(values.numel(), 1)


def check_mask(mask: Tensor) -> None:
    """Refuses a mask of the integers 0 and 1, which torch would take for row numbers.

    Raises
    ------
    StageError : a mask that isn't bool.
    """
    if mask.dtype != torch.bool:
        raise StageError(expected("mask", "a bool tensor, True = counts", mask.dtype))


def check_shape(name: str, shape: torch.Size, wanted: torch.Size) -> None:
    """Refuses what torch would broadcast in silence.

    Raises
    ------
    StageError : the shapes differ.
    """
    if shape != wanted:
        raise StageError(expected(name, f"of shape {tuple(wanted)}", tuple(shape)))


def products(left: Tensor, right: Tensor) -> Tensor:
    """Inner products (..., A, B) of the rows (..., A, D) and (..., B, D); never under autocast."""
    with torch.autocast(left.device.type, enabled=False):
        return left @ right.transpose(-1, -2)


def unit(vectors: Tensor) -> Tensor:
    """The vectors of the last dimension at length 1.

    A zero vector has no direction: it stays zero and is given gradient 0, where a division by a
    tiny number would give it an enormous one.
    """
    squares = vectors.square().sum(-1, keepdim=True)
    some = squares > torch.finfo(squares.dtype).tiny
    lengths = torch.where(some, squares, torch.ones_like(squares)).sqrt()
    return torch.where(some, vectors / lengths, torch.zeros_like(vectors))
