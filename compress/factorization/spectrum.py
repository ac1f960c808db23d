"""Decomposes a matrix into factors, the best first, with the energy of each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 1e-4
"""Ridge that is added to a Gram matrix's diagonal, relative to the diagonal's mean."""

_TINY = 1e-150


@dataclass(frozen=True)
class Spectrum:
    """A matrix as a sum of products of a column and a row, the most important first.

    Attributes
    ----------
    energies : (K,) float64, falling, on the CPU: the growth of the squared error without each
        product. The error is that of the matrix, or with a Gram matrix that of its mean output.
    left : (M, R) float32 columns, the first R <= K of them.
    right : (R, N) float32 rows; each has the norm of its column.
    """

    energies: Tensor
    left: Tensor
    right: Tensor

    def kept(self, rank: int) -> float:
        """Return the fraction of the energy that the first `rank` products have."""
        total = self.energies.sum()
        return float(self.energies[:rank].sum() / total) if total > 0 else 1.0

    def lost(self) -> Tensor:
        """(K + 1,) float64: the fraction of the energy that is lost at each rank from 0."""
        total = self.energies.sum()
        tails = self.energies.flip(0).cumsum(0).flip(0)
        return torch.cat([tails, tails.new_zeros(1)]) / (total if total > 0 else 1.0)


def spectrum(matrix: Tensor, *, gram: Tensor | None = None, largest: int) -> Spectrum:
    """Return the singular value decomposition of a matrix, or of its outputs, in float64.

    Without `gram` the first r products are the best approximation of rank r (Eckart and Young,
    1936). With it they are the approximation whose outputs differ least on the inputs (SVD-LLM,
    Wang et al., ICLR 2025): W S is decomposed, where S S' is the Gram matrix, and S is divided out
    again. A ridge of `RIDGE` keeps S invertible. It also keeps the weights near the old ones in
    directions that the samples don't have.

    Parameters
    ----------
    matrix : (M, N).
    gram : (N, N) float64, the mean over inputs x of x x'; not all zero.
    largest : R, the largest number of products.
    """
    weight = matrix.detach().double()
    root = None if gram is None else _root(gram)
    u, s, vh = torch.linalg.svd(weight if root is None else weight @ root, full_matrices=False)
    left, right = u[:, :largest] * s[:largest], vh[:largest]
    if root is not None:
        right = torch.linalg.solve_triangular(root, right, upper=False, left=False)
    # Sharing the scale equally keeps gradients and INT8 steps similar. Without a Gram matrix each
    # factor then has the root of the singular value.
    share = (right.norm(dim=1) / left.norm(dim=0).clamp_min(_TINY)).sqrt().clamp_min(_TINY)
    return Spectrum(s.square().cpu(), (left * share).float(), (right / share[:, None]).float())


def _root(gram: Tensor) -> Tensor:
    """Return the lower triangular S with S S' = the Gram matrix plus its ridge."""
    ridge = RIDGE * gram.diagonal().mean()
    raised = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    root: Tensor = torch.linalg.cholesky(raised)
    return root
