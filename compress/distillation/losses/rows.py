"""Selects the rows of a batch that count, and averages over them."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.errors import StageError, expected


def precise(values: Tensor) -> Tensor:
    """Return the values in fp32; float64 values stay float64."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def kept(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return the rows that count, in fp32. The others are left out, so a NaN there has no effect.

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
    """Return the mean, or 0 with gradient 0 if there are no values."""
    return values.sum() / max(values.numel(), 1)


def check_mask(mask: Tensor) -> None:
    """Refuse a mask of the integers 0 and 1, which torch would take for row numbers.

    Raises
    ------
    StageError : the mask isn't bool.
    """
    if mask.dtype != torch.bool:
        raise StageError(expected("mask", "a bool tensor, True = counts", mask.dtype))


def check_shape(name: str, shape: torch.Size, wanted: torch.Size) -> None:
    """Refuse shapes that torch would silently broadcast.

    Raises
    ------
    StageError : the shapes differ.
    """
    if shape != wanted:
        raise StageError(expected(name, f"of shape {tuple(wanted)}", tuple(shape)))


def products(left: Tensor, right: Tensor) -> Tensor:
    """Return inner products (..., A, B) of rows (..., A, D) and (..., B, D), without autocast."""
    with torch.autocast(left.device.type, enabled=False):
        return left @ right.transpose(-1, -2)


def unit(vectors: Tensor) -> Tensor:
    """Return the vectors of the last dimension with length 1.

    A zero vector has no direction. It stays zero and gets gradient 0; dividing by a tiny number
    would give it a huge gradient.
    """
    squares = vectors.square().sum(-1, keepdim=True)
    some = squares > torch.finfo(squares.dtype).tiny
    lengths = torch.where(some, squares, torch.ones_like(squares)).sqrt()
    return torch.where(some, vectors / lengths, torch.zeros_like(vectors))
