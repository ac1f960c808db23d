"""Which channels of a convolutional network go together, from torch-pruning's dependency graph.

torch-pruning only traces (a copy); `compress.pruning.cut` cuts, so that nothing of the module given
is touched, and the result can be compared with the masked original.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from compress.errors import StageError
from compress.models.load import few
from compress.pruning.groups import Group, Slice

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

Places = tuple[tuple[str, int], ...]
"""Tensor names and dimensions."""


def channel_groups(
    module: nn.Module, *, task: Task, inputs: Batch
) -> tuple[list[Group], tuple[str, ...]]:
    """Groups of channels that can be cut; and a line for each reason to leave others alone.

    Left alone are the layers that make the model's output, and channels which a layer mixes in a
    way that cutting would change (layer or group normalisation, grouped convolution, free
    parameters).

    Parameters
    ----------
    inputs : example for tracing; `task.logits` runs the module on it.

    Raises
    ------
    StageError : torch-pruning can't trace the module.
    """
    traced = copy.deepcopy(module).requires_grad_(True)  # the graph follows autograd's
    members = _Members(_trace(traced, task=task, inputs=inputs), traced)
    groups: list[Group] = []
    alone: dict[str, str] = {}
    made: set[str] = set()
    # Not the graph's own `get_all_groups`: once a sum of a concatenation has come up as a whole, it
    # never begins at the layers that are concatenated.
    for path, layer in traced.named_modules():
        if path in made or not members.makes_channels(layer):
            continue
        found, units = members.group(layer)
        slices, reason = members.slices(found, units=units)
        if reason is None:
            groups.append(Group(path, "channels", units, tuple(slices)))
            made |= members.makers(found)
        else:
            alone[path] = reason
    left = {path: reason for path, reason in alone.items() if path not in made}
    return groups, tuple(
        f"left alone, as {reason}: {few([path for path in left if left[path] == reason])}."
        for reason in dict.fromkeys(left.values())
    )


def _trace(traced: nn.Module, *, task: Task, inputs: Batch) -> Any:
    import torch_pruning

    def forward(model: nn.Module, given: Batch) -> Tensor:
        return task.logits(model, given)

    try:
        with torch.enable_grad(), warnings.catch_warnings():
            # It warns of parameters outside of layers; groups that hold one are left alone below.
            warnings.simplefilter("ignore")
            return torch_pruning.DependencyGraph().build_dependency(
                traced, example_inputs=inputs, forward_fn=forward, verbose=False
            )
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise StageError(
            f"{type(traced).__name__} can't be traced by torch-pruning: "
            f"{type(error).__name__}: {error}"
        ) from error


class _Members:
    """Reads torch-pruning's graph of a traced module."""

    def __init__(self, graph: Any, traced: nn.Module) -> None:
        self._graph = graph
        self._paths: dict[nn.Module, str] = {part: path for path, part in traced.named_modules()}

    def makes_channels(self, layer: nn.Module) -> bool:
        """Whether a layer was run, and its output channels are not just its input's."""
        if isinstance(layer, _ConvNd):
            depthwise = 1 < layer.groups == layer.in_channels
            return not depthwise and layer in self._graph.module2node
        return isinstance(layer, nn.Linear) and layer in self._graph.module2node

    def group(self, layer: nn.Module) -> tuple[Any, int]:
        """All that goes with the output channels of a layer, and how many these are."""
        pruner = self._graph.get_pruner_of_module(layer)
        units = int(pruner.get_out_channels(layer))
        every = list(range(units))
        return self._graph.get_pruning_group(layer, pruner.prune_out_channels, every), units

    def makers(self, found: Any) -> set[str]:
        """Paths of the layers whose output channels, or some of them, are in a group."""
        return {
            self._paths[item.dep.target.module]
            for item in found
            if item.dep.target.module in self._paths and self._is_output(item)
        }

    def slices(self, found: Any, *, units: int) -> tuple[list[Slice], str | None]:
        """The slices of a group, or why it can't be cut."""
        slices: list[Slice] = []
        for item in found:
            made, reason = self._slices_of(item, units=units)
            if reason is not None:
                return [], reason
            slices += made
        return slices, None

    def _is_output(self, item: Any) -> bool:
        return bool(self._graph.is_out_channel_pruning_fn(item.dep.handler))

    def _slices_of(self, item: Any, *, units: int) -> tuple[list[Slice], str | None]:
        node = item.dep.target
        if self._is_output(item) and not node.outputs:
            return [], "they make the model's output"
        if isinstance(node.module, nn.Parameter):
            return [], "a parameter outside of any layer has their channels"
        path = self._paths.get(node.module)
        if path is None:
            return [], None  # an operation without parameters, such as an addition
        places = _places(node.module, out=self._is_output(item))
        if places is None:
            return [], f"{type(node.module).__name__} mixes their channels"
        index = _index(item.idxs, item.root_idxs, units=units)
        if index is None:
            return [], "a layer after them has only some of their channels"
        return [Slice(path, tensor, dim, index) for tensor, dim in places], None


def _places(module: nn.Module, *, out: bool) -> Places | None:
    """Where a layer's output or input channels are; None: in no way that can be cut alone."""
    names: list[tuple[str, int]] = []
    match module:
        case _BatchNorm():
            names = [(name, 0) for name in ("weight", "bias", "running_mean", "running_var")]
        case _ConvNd(groups=groups) if groups > 1:
            if not groups == module.in_channels == module.out_channels:
                return None
            names = [("weight", 0), ("bias", 0)]
        case _ConvTransposeNd():
            names = [("weight", 1), ("bias", 0)] if out else [("weight", 0)]
        case _ConvNd() | nn.Linear():
            names = [("weight", 0), ("bias", 0)] if out else [("weight", 1)]
        case nn.PReLU():
            names = [("weight", 0)] if module.num_parameters > 1 else []
        case _:
            return None
    return tuple((name, dim) for name, dim in names if getattr(module, name) is not None)


def _index(own: Sequence[int], root: Sequence[int | None], *, units: int) -> Tensor | None:
    """(U, K) own indices of each of the root's units; None where units differ in how many."""
    rows: dict[int, list[int]] = {}
    for element, unit in zip(own, root, strict=True):
        if unit is None:
            return None
        rows.setdefault(unit, []).append(element)
    if sorted(rows) != list(range(units)) or len({len(row) for row in rows.values()}) != 1:
        return None
    return torch.tensor([rows[unit] for unit in range(units)], dtype=torch.int64)
