"""Counts and predicts parameters and multiply-accumulates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from torch import nn

from compress.errors import StageError
from compress.measurement.macs.module import ModuleMacs, module_macs
from compress.models.structure.groups import Group
from compress.pruning.options import Quantity

if TYPE_CHECKING:
    from compress.core.context import Batch, Task


@dataclass(frozen=True)
class Cost:
    """Parameters of a module (shared ones once), and its MACs on the inputs that were given."""

    params: int
    macs: int

    def of(self, quantity: Quantity) -> int:
        """The parameters or the MACs, as the quantity says."""
        return self.macs if quantity == "macs" else self.params


def count_params(module: nn.Module) -> int:
    """Number of all parameters, embeddings included, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_cost(module: nn.Module, *, task: Task, inputs: Batch) -> Cost:
    """Count by running the module once on the inputs, by the rules for ONNX graphs."""
    return Cost(count_params(module), module_macs(module, task=task, inputs=inputs).total)


@dataclass(frozen=True)
class _Cut:
    """The part that one group has of one dimension of a parameter."""

    group: int
    width: int
    whole: bool


class CostModel:
    """Predicts a module's cost after cutting units of each group, without cutting them.

    The MACs of a layer are proportional to the elements of its weight, whatever the layer is and
    however often it is called. The MACs of an attention's matmuls are proportional to the heads,
    and to the width of a head, that the attention keeps. All other MACs stay.

    Attributes
    ----------
    total : cost of the whole module.
    macs : multiply-accumulates of the whole module's run, by layer and attention.

    Raises
    ------
    StageError : groups share a dimension of a parameter in a way that `Group` doesn't allow.
    """

    def __init__(
        self, module: nn.Module, groups: Sequence[Group], *, task: Task, inputs: Batch
    ) -> None:
        self.groups = tuple(groups)
        attentions = dict.fromkeys(path for group in groups for path in group.attentions)
        self.macs: ModuleMacs = module_macs(
            module, attentions=list(attentions), task=task, inputs=inputs
        )
        self.total = Cost(count_params(module), self.macs.total)
        self.shapes = {name: tuple(p.shape) for name, p in module.named_parameters()}
        self._scales = {
            path: [index for index, group in enumerate(groups) if path in group.attentions]
            for path in attentions
        }
        self._cuts = _cuts(module, groups, self.shapes)
        fixed = [name for name in self.shapes if name not in self._cuts]
        self._params = sum(prod(self.shapes[name]) for name in fixed)
        self._layers = {name: self.macs.layers.get(name, 0) for name in self._cuts}
        self._attentions = self.macs.attentions
        changing = sum(self._layers.values()) + sum(self._attentions.values())
        self._macs = self.total.macs - changing

    def predict(self, counts: Sequence[int]) -> Cost:
        """The cost after cutting `counts[g]` units of group g."""
        params, macs = self._params, self._macs
        for name, whole in self._layers.items():
            left = prod(self.shape(name, counts))
            params += left
            macs += whole * left // prod(self.shapes[name])
        for path, whole in self._attentions.items():
            macs += self.scaled(whole, path, counts)
        return Cost(params, macs)

    def scaled(self, number: int, attention: str, counts: Sequence[int]) -> int:
        """A number that is proportional to an attention's units, after the cut."""
        for index in self._scales[attention]:
            group = self.groups[index]
            number = number * (group.units - counts[index]) // group.units
        return number

    def shape(self, name: str, counts: Sequence[int]) -> tuple[int, ...]:
        """The shape of the parameter `name` after cutting `counts[g]` units of group g."""
        sizes = list(self.shapes[name])
        for dim, cuts in self._cuts.get(name, {}).items():
            for cut in cuts:
                if cut.whole:
                    units = self.groups[cut.group].units
                    sizes[dim] = sizes[dim] * (units - counts[cut.group]) // units
                else:
                    sizes[dim] -= counts[cut.group] * cut.width
        return tuple(sizes)


def _cuts(
    module: nn.Module, groups: Sequence[Group], shapes: dict[str, tuple[int, ...]]
) -> dict[str, dict[int, list[_Cut]]]:
    """Cuts by parameter and dimension. A shared parameter has the first of its names."""
    first = {id(parameter): name for name, parameter in module.named_parameters()}
    every = {
        name: first[id(parameter)]
        for name, parameter in module.named_parameters(remove_duplicate=False)
    }
    found: dict[str, dict[int, list[_Cut]]] = {}
    seen: set[tuple[str, int, int, int]] = set()
    for number, group in enumerate(groups):
        for part in group.slices:
            own = f"{part.module}.{part.tensor}" if part.module else part.tensor
            name = every.get(own)
            # A shared parameter may be named once for each module that has it.
            key = (name or own, number, part.dim, int(part.index[0, 0]))
            if name is None or (name != own and key in seen):
                continue
            seen.add(key)
            whole = part.index.numel() == shapes[name][part.dim]
            found.setdefault(name, {}).setdefault(part.dim, []).append(
                _Cut(number, part.width, whole)
            )
    for name, dims in found.items():
        for dim, cuts in dims.items():
            _require_compatible(cuts, size=shapes[name][dim], where=f"{name}, dimension {dim}")
    return found


def _require_compatible(cuts: Sequence[_Cut], *, size: int, where: str) -> None:
    wholes = [cut.whole for cut in cuts]
    if len(cuts) > 1 and any(wholes) and not all(wholes):
        raise StageError(
            f"groups that cut {where} ({size} wide) must have disjoint parts of it, or each the "
            f"whole. Got {len(cuts)} groups, of which {sum(wholes)} have the whole."
        )
