"""Penalties that drive units towards zero before they are cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from compress.core.context import Batch
from compress.models.structure.groups import Group, Slice
from compress.training.batches import sample_count


class GroupLasso:
    """Group lasso: the L2 norm of all weights of each unit.

    It is strength / groups · Σ_g Σ_u √n_g ‖w_gu‖₂, where n_g is the number of weights of a unit of
    group g. Yuan & Lin, "Model selection and estimation in regression with grouped variables",
    JRSS B 2006; for networks Wen et al., "Learning Structured Sparsity in Deep Neural Networks",
    NeurIPS 2016, arXiv:1608.03665. Unlike a squared norm it drives whole units to zero, and leaves
    others nearly as they are.

    It is a `compress.training.learner.Loss` with one part.
    """

    def __init__(self, groups: Sequence[Group], *, strength: float) -> None:
        self._groups, self._strength = groups, strength

    def __call__(self, student: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """{"group_lasso": scalar}, in fp32."""
        total = []
        for group in self._groups:
            squares, weights = unit_squares(student, group)
            # The slope of the root is unbounded at zero.
            total.append(squares.clamp_min(1e-24).sqrt().sum() * weights**0.5)
        penalty = torch.stack(total).sum() * (self._strength / len(total))
        return {"group_lasso": penalty}

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """Number of samples, so that a step's penalty doesn't depend on its number of batches."""
        return {"group_lasso": sample_count(batch)}


class GrowingPenalty:
    """Squared L2 norm of the units to prune, with a weight that grows as training proceeds.

    It is weight / 2 · Σ ‖w_gu‖² over the chosen units. The weight rises linearly from 0 to
    `strength` over `samples` samples and stays there. Wang et al., "Neural Pruning via Growing
    Regularization", ICLR 2021, arXiv:2012.09243 (GReg-1).

    It is a `compress.training.learner.Loss` with one part.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        units: Sequence[Tensor],
        *,
        strength: float,
        samples: int,
    ) -> None:
        self._chosen = [
            (group, gone) for group, gone in zip(groups, units, strict=True) if len(gone)
        ]
        self._strength, self._samples = strength, samples
        self._seen = 0

    def __call__(self, student: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """{"growing": scalar}, in fp32."""
        weight = self._strength * min(1.0, self._seen / self._samples)
        if torch.is_grad_enabled():
            self._seen += sample_count(batch)
        chosen = [unit_squares(student, group)[0][gone].sum() for group, gone in self._chosen]
        return {"growing": torch.stack(chosen).sum() * (weight / 2)}

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """Number of samples, so that a step's penalty doesn't depend on its number of batches."""
        return {"growing": sample_count(batch)}


def unit_squares(module: nn.Module, group: Group) -> tuple[Tensor, int]:
    """Differentiable sum of squares of each unit's weights (U,), and the weights in one unit.

    Parameters that several modules share count once.
    """
    sums: list[Tensor] = []
    weights = 0
    seen: list[tuple[Tensor, Slice]] = []
    for part in group.slices:
        tensor = part.tensor_of(module)
        if not isinstance(tensor, nn.Parameter) or _known(tensor, part, seen):
            continue
        seen.append((tensor, part))
        rest = [dim for dim in range(tensor.dim()) if dim != part.dim]
        squares = tensor.float().square()
        squares = squares.sum(dim=rest) if rest else squares
        sums.append(squares[part.index.to(tensor.device)].sum(dim=1))
        weights += part.width * (tensor.numel() // tensor.shape[part.dim])
    return torch.stack(sums).sum(dim=0), weights


def _known(tensor: Tensor, part: Slice, seen: Sequence[tuple[Tensor, Slice]]) -> bool:
    return any(
        tensor is other and part.dim == one.dim and torch.equal(part.index, one.index)
        for other, one in seen
    )
