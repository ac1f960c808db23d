"""Importance by activations: units with large activations are important."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.errors import StageError, few
from compress.models.structure.attention import heads_apart
from compress.models.structure.groups import Group, Slice
from compress.models.structure.normalization import normalizes
from compress.pruning.importance.unchanged import evaluating
from compress.pruning.importance.weights import relative
from compress.training.acceleration import placed_batch

if TYPE_CHECKING:
    from compress.core.context import Batch, Task


def activation(
    module: nn.Module, groups: Sequence[Group], *, task: Task, batches: Iterable[Batch]
) -> list[Tensor]:
    """Mean activation of each unit, divided by the group's mean: (U,) of each group, mean 1.

    It is averaged over samples and places (pixels, or tokens that aren't padding), and over the
    layers that read the unit. For channels and neurons it is |activation|. For heads it is the L2
    norm of the head's output, before the output projection. For hidden units it is |output| of
    their normalisations, or what layers read if they have none (a pooler's). Muralidharan et al.,
    "Compact Language Models via Pruning and Knowledge Distillation" (Minitron), NeurIPS 2024,
    arXiv:2407.14679.

    Raises
    ------
    StageError : a group is the width within heads, which layers read only in part; no layer that
        reads a group runs; or there is no batch.
    """
    seen = [_SeenActivations(module, group) for group in groups]
    empty = True
    with evaluating(module) as device, torch.no_grad(), heads_apart(module), _watching(seen):
        for batch in batches:
            empty = False
            inputs = placed_batch(model_inputs(batch), device=device, channels_last=False)
            for each in seen:
                each.mask = inputs.get(ATTENTION_MASK)
            task.logits(module, inputs)
    if empty:
        raise StageError("there is no batch to measure activations on.")
    idle = [each.group.name for each in seen if not each.ran]
    if idle:
        raise StageError(
            f"importance 'activation' can't rank {few(idle)}: no layer that reads their units runs."
        )
    return [relative(each.mean()) for each in seen]


class _SeenActivations:
    """Sums of the activations of one group's units.

    Attributes
    ----------
    mask : (N, S) attention mask of the batch that is running.
    """

    def __init__(self, module: nn.Module, group: Group) -> None:
        self.group = group
        self.mask: Tensor | None = None
        self._sums: dict[str, Tensor] = {}
        self._places: dict[str, int] = {}
        if group.kind == "head_width":
            raise StageError(
                f"importance 'activation' can't rank {group.name}: a place within heads is one of "
                "queries and keys too, which no layer reads. Choose another importance, such as "
                "'magnitude'."
            )
        norms = [
            part
            for part in group.slices
            if part.tensor == "weight" and normalizes(module.get_submodule(part.module))
        ]
        self._norms = norms if group.kind == "hidden" else []
        self._module = module

    def attach(self) -> Iterator[Any]:
        """Register hooks on all layers whose inputs or outputs have the units."""
        for part in self._norms:
            owner = self._module.get_submodule(part.module)
            yield owner.register_forward_hook(self._made(part.module, part.index))
        for part in () if self._norms else self.group.slices:
            owner = self._module.get_submodule(part.module)
            found = _read(owner, part)
            if found is not None:
                hook = self._given(part.module, *found)
                yield owner.register_forward_pre_hook(hook, with_kwargs=True)

    @property
    def ran(self) -> bool:
        """True if any activation was seen."""
        return any(self._places.values())

    def mean(self) -> Tensor:
        """Mean over places, then over layers: (U,) float64."""
        means = [self._sums[path] / self._places[path] for path in self._sums]
        return torch.stack(means).mean(dim=0)

    def _made(self, path: str, index: Tensor) -> Any:
        def hook(owner: nn.Module, given: object, made: Tensor) -> None:
            self._add(path, made, index)

        return hook

    def _given(self, path: str, dim: int, index: Tensor) -> Any:
        def hook(owner: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            self._add(path, (*given, *named.values())[0].movedim(dim, -1), index)

        return hook

    def _add(self, path: str, values: Tensor, index: Tensor) -> None:
        """Add a layer's values. `index` (U, K) selects from their last dimension."""
        if self.mask is not None and values.shape[:-1] == self.mask.shape:
            values = values[self.mask.bool()]
        units = values.reshape(-1, values.shape[-1])[:, index.to(values.device)]  # (P, U, K)
        each = units.norm(dim=2) if self.group.kind == "heads" else units.abs().mean(dim=2)
        found = each.sum(dim=0, dtype=torch.float64).cpu()
        self._sums[path] = self._sums.get(path, torch.zeros_like(found)) + found
        self._places[path] = self._places.get(path, 0) + len(units)


@contextmanager
def _watching(seen: Sequence[_SeenActivations]) -> Iterator[None]:
    hooks = [hook for each in seen for hook in each.attach()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _read(layer: nn.Module, part: Slice) -> tuple[int, Tensor] | None:
    """The dimension of a layer's input that has the units, and their indices (U, K) in it.

    None if the layer makes the units, or scales each by itself.
    """
    depthwise = isinstance(layer, _ConvNd) and (
        1 < layer.groups == layer.in_channels == layer.out_channels
    )
    if part.tensor != "weight" or depthwise:
        return None
    match layer:
        case nn.Linear() if part.dim == 1:
            return -1, part.index
        case _ConvTransposeNd() if part.dim == 0:
            return 1 - layer.weight.dim(), part.index
        case _ConvNd(transposed=False) if part.dim == 1:
            # The weight has the channels of one group of the convolution; each reads as many.
            first = layer.weight.shape[1] * torch.arange(layer.groups)[:, None]
            return 1 - layer.weight.dim(), (part.index[:, None] + first).flatten(1)
        case nn.Module(nx=_, nf=_) if part.dim == 0:  # transformers' Conv1D: weights (in, out)
            return -1, part.index
    return None
