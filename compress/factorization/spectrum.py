"""Factors of a matrix, best first, and what each is worth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 1e-4
"""What is added to a Gram matrix's diagonal, relative to its mean."""

_TINY = 1e-150


@dataclass(frozen=True)
class Spectrum:
    """A matrix as a sum of products of a column and a row, the ones that matter most first.

    Attributes
    ----------
    energies : (K,) float64, falling, on the CPU; what the squared error grows by without each
        product: of the matrix, or, with a Gram matrix, of its outputs for one input on average.
    left : (M, R) float32 columns, the first R <= K of them.
    right : (R, N) float32 rows; each has the norm of its column.
    """

    energies: Tensor
    left: Tensor
    right: Tensor

    def kept(self, rank: int) -> float:
        """The fraction of the energy that the first `rank` products have."""
        total = self.energies.sum()
        return float(self.energies[:rank].sum() / total) if total > 0 else 1.0

    def lost(self) -> Tensor:
        """(K + 1,) float64: the fraction of the energy that is lost at each rank from 0."""
        total = self.energies.sum()
        tails = self.energies.flip(0).cumsum(0).flip(0)
        return torch.cat([tails, tails.new_zeros(1)]) / (total if total > 0 else 1.0)


def spectrum(matrix: Tensor, *, gram: Tensor | None = None, largest: int) -> Spectrum:
    """Singular value decomposition in float64, of the matrix or of what it does to its inputs.

    Without `gram` the first r products are the best approximation of rank r (Eckart and Young,
    1936). With it they are the one whose outputs differ least on the inputs (SVD-LLM, Wang et al.,
    ICLR 2025): W S is decomposed, where S S' is the Gram matrix, and S taken out again. A ridge of
    `RIDGE` keeps S invertible, and weights for what the samples don't show near the old ones.

    Parameters
    ----------
    matrix : (M, N).
    gram : (N, N) float64, the mean over inputs x of x x'; not all zero.
    largest : how many products are made at most, R.
    """
    weight = matrix.detach().double()
    root = None if gram is None else _root(gram)
    u, s, vh = torch.linalg.svd(weight if root is None else weight @ root, full_matrices=False)
    left, right = u[:, :largest] * s[:largest], vh[:largest]
    if root is not None:
        right = torch.linalg.solve_triangular(root, right, upper=False, left=False)
    # An even share of the scale keeps gradients and INT8 steps alike; without a Gram matrix each
    # factor then has the root of the singular value.
    share = (right.norm(dim=1) / left.norm(dim=0).clamp_min(_TINY)).sqrt().clamp_min(_TINY)
    return Spectrum(s.square().cpu(), (left * share).float(), (right / share[:, None]).float())


def _root(gram: Tensor) -> Tensor:
    """Lower triangular S with S S' = the Gram matrix and its ridge."""
    ridge = RIDGE * gram.diagonal().mean()
    raised = gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    root: Tensor = torch.linalg.cholesky(raised)
    return root
