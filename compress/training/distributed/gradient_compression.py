"""Gradient compression in one process: gradients of low rank, with error feedback.

The shorter of a matrix's two dimensions is sketched.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

NotFiniteError: type[Exception] = torch.linalg.LinAlgError  # type: ignore[attr-defined]
"""The error that a decomposition raises if a matrix isn't finite."""
_SMALLEST = 256
"""Elements of a gradient; smaller ones are left as they are, since there is nothing to gain."""
_EXTRA = 8
"""Columns of the sketch beyond the rank, which make it exact enough (Halko et al., 2011)."""


def kept_rank(shape: torch.Size | tuple[int, ...], ratio: float) -> int | None:
    """Rank to which a gradient of this shape is cut; None if it is left as it is.

    Kernels count as matrices (out, rest). A rank r of an (m, n) matrix pays if r (m + n) < m n.
    """
    if len(shape) < 2:
        return None
    rows, columns = shape[0], int(torch.Size(shape[1:]).numel())
    rank = max(1, round(ratio * min(rows, columns)))
    worth = rows * columns >= _SMALLEST and rank * (rows + columns) < rows * columns
    return rank if worth else None


def bytes_per_step(shapes: Iterable[torch.Size], ratio: float) -> tuple[int, int]:
    """Bytes of all gradients in fp32: uncompressed, and with factors for those that are cut."""
    whole = cut = 0
    for shape in shapes:
        rank, elements = kept_rank(shape, ratio), shape.numel()
        whole += 4 * elements
        cut += 4 * (elements if rank is None else rank * (shape[0] + elements // shape[0]))
    return whole, cut


def low_rank(matrix: Tensor, *, rank: int, generator: torch.Generator) -> Tensor:
    """The best approximation of that rank within a random sketch (Halko et al., 2011).

    A random projection and QR find the range of the shorter side. The eigenvectors of the
    remaining small matrix select the directions to keep. The result is exact if the matrix's rank
    is at most `rank`.

    Parameters
    ----------
    matrix : (m, n).
    generator : a generator on the CPU.

    Returns
    -------
    (m, n), of rank `rank` or less.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return low_rank(matrix.T, rank=rank, generator=generator).T
    width = min(rank + _EXTRA, matrix.shape[0])
    omega = torch.randn(matrix.shape[1], width, generator=generator).to(matrix)
    basis, _ = torch.linalg.qr(matrix @ omega)
    inside = basis.T @ matrix
    _, directions = torch.linalg.eigh(inside @ inside.T)
    kept = directions[:, -rank:]
    found: Tensor = (basis @ kept) @ (kept.T @ inside)
    return found


class LowRankGradients:
    """Makes gradients low-rank, and adds the remainder to the next step's gradients.

    With this error feedback (Seide et al., 2014; Vogels et al., 2019) nothing is lost, only
    delayed.

    Parameters
    ----------
    parameters : the parameters whose gradients are changed.
    ratio : rank as a fraction of the shorter side.
    seed : seed of the random projections.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], *, ratio: float, seed: int) -> None:
        ranks = ((parameter, kept_rank(parameter.shape, ratio)) for parameter in parameters)
        self._ranks = [(parameter, rank) for parameter, rank in ranks if rank is not None]
        self._left_out: dict[int, Tensor] = {}
        self._generator = torch.Generator().manual_seed(seed)

    def apply(self) -> None:
        """Change each gradient that exists.

        Raises
        ------
        NotFiniteError : a gradient isn't finite.
        """
        for place, (parameter, rank) in enumerate(self._ranks):
            gradient = parameter.grad
            if gradient is None:
                continue
            wanted = gradient.flatten(1)
            if place in self._left_out:
                wanted = wanted + self._left_out[place]
            kept = low_rank(wanted, rank=rank, generator=self._generator)
            self._left_out[place] = wanted - kept
            # In place: fused optimizers expect a gradient to have its weights' memory layout.
            gradient.copy_(kept.reshape(gradient.shape))
