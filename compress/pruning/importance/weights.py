"""The parameters of a group's units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from compress.models.structure.groups import Group


class _WeightSlice(NamedTuple):
    dim: int
    units: Tensor


class UnitWeights:
    """All elements of parameters that belong to each unit, each of them once.

    Several modules may share a parameter, and a unit may have a row and a column of one matrix.

    Attributes
    ----------
    units : number of units.
    parameters : the parameters that have elements of the units.
    """

    def __init__(self, module: nn.Module, group: Group) -> None:
        self.units = group.units
        self._parts: dict[nn.Parameter, list[_WeightSlice]] = {}
        for part in group.slices:
            tensor = part.tensor_of(module)
            if not isinstance(tensor, nn.Parameter):
                continue  # running statistics say nothing about importance
            known = self._parts.setdefault(tensor, [])
            if not any(part.dim == dim and torch.equal(part.index, units) for dim, units in known):
                known.append(_WeightSlice(part.dim, part.index))

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The parameters that have elements of the units."""
        return list(self._parts)

    def sums(self, values: Mapping[nn.Parameter, Tensor]) -> Tensor:
        """Sum of the given values over each unit's elements: (U,) float64, on the CPU.

        Parameters
        ----------
        values : values of the parameters' shapes; missing ones count as zero.
        """
        total = torch.zeros(self.units, dtype=torch.float64)
        for parameter, parts in self._parts.items():
            elements = values.get(parameter)
            if elements is None:
                continue
            for dim, index in parts:
                rest = [other for other in range(elements.dim()) if other != dim]
                summed = elements.sum(dim=rest, dtype=torch.float64) if rest else elements.double()
                total += summed.cpu()[index].sum(dim=1)
            for one, other in combinations(parts, 2):
                if one.dim != other.dim:
                    total -= _shared(elements, one, other)
        return total

    def squares(self) -> Tensor:
        """Sum of the squares of each unit's elements: (U,) float64, on the CPU."""
        return self.sums({each: each.detach().double().square() for each in self._parts})

    def rows(self, units: Tensor) -> Iterator[Tensor]:
        """The elements of some units, part by part, as (R, D) float64."""
        for parameter, parts in self._parts.items():
            for dim, index in parts:
                chosen = index[units].to(parameter.device)
                yield parameter.detach().movedim(dim, 0)[chosen].flatten(1).double()


def relative(values: Tensor) -> Tensor:
    """Values divided by their mean, so that layers of different scale are comparable."""
    return values / values.mean().clamp_min(torch.finfo(values.dtype).tiny)


def _shared(elements: Tensor, one: _WeightSlice, other: _WeightSlice) -> Tensor:
    """(U,) sums of the elements that two parts of a tensor, along two dimensions, share."""
    matrix = elements.movedim((one.dim, other.dim), (0, 1))
    if matrix.dim() > 2:
        matrix = matrix.flatten(2).sum(dim=2, dtype=torch.float64)
    return matrix.double().cpu()[one.units[:, :, None], other.units[:, None, :]].sum(dim=(1, 2))
