"""Gram matrices of layers' inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.errors import StageError

if TYPE_CHECKING:
    from compress.core.context import Batch, Task
    from compress.core.progress import Advance

_PATCHES = 2**25
"""Largest number of elements of a convolution's patches that are made at once."""


def gram_matrices(
    module: nn.Module,
    layers: Mapping[str, nn.Module],
    *,
    task: Task,
    batches: Iterable[Batch],
    advance: Advance,
) -> dict[str, Tensor]:
    """Return for each layer the mean of x x' over its inputs x, (columns, columns) float64.

    A convolution's inputs are the patches under its kernel. If a layer is given one vector for each
    token, padding isn't counted. Memory doesn't grow with the number of batches. The division into
    batches changes only the last bits.

    Parameters
    ----------
    module : in eval mode, on the device where the batches will be put.
    layers : the module's, by path; linear or `nn.Conv2d` (see `models.low_rank.is_splittable`).
    advance : called after each batch.

    Raises
    ------
    StageError : there are no batches, or an input of a layer isn't finite.
    """
    sums = _Grams()
    hooks = [
        part.register_forward_hook(sums.hook(path, part), with_kwargs=True)
        for path, part in layers.items()
    ]
    device = next(module.parameters()).device
    try:
        with torch.no_grad():
            for batch in batches:
                inputs = {name: value.to(device) for name, value in model_inputs(batch).items()}
                sums.mask = inputs.get(ATTENTION_MASK)
                task.logits(module, inputs)
                advance()
    finally:
        for hook in hooks:
            hook.remove()
    return {path: sums.mean(path) for path in layers}


class _Grams:
    """Sums of x x' by layer, and their numbers of x."""

    def __init__(self) -> None:
        self.mask: Tensor | None = None
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def hook(self, path: str, part: nn.Module) -> Any:
        def see(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], answer: Any) -> None:
            values: Tensor = (*given, *named.values())[0]
            if isinstance(part, nn.Conv2d):
                for some in torch.split(values, _samples_at_once(part, values, answer)):
                    self._add(path, patches(part, some))
            else:
                self._add(path, without_padding(values, self.mask))

        return see

    def _add(self, path: str, vectors: Tensor) -> None:
        exact = vectors.double()
        added = exact.T @ exact
        if path in self._sums:
            self._sums[path] += added
            self._counts[path] += len(vectors)
        else:
            self._sums[path], self._counts[path] = added, len(vectors)

    def mean(self, path: str) -> Tensor:
        if not self._counts.get(path):
            raise StageError(f"no calibration sample reached {path!r}.")
        found = self._sums[path] / self._counts[path]
        if not found.isfinite().all():
            raise StageError(f"{path!r} is given what isn't finite on the calibration samples.")
        return found


def without_padding(values: Tensor, mask: Tensor | None) -> Tensor:
    """Return a linear layer's input (..., N) as vectors (V, N) of real tokens only.

    Parameters
    ----------
    mask : (B, S), 1 at real tokens. Values that aren't (B, S, N) or (B * S, N) are taken whole.
    """
    vectors = values.reshape(-1, values.shape[-1])
    if mask is None or values.shape[:-1] not in (mask.shape, (mask.numel(),)):
        return vectors
    return vectors[mask.reshape(-1).bool()]


def patches(part: nn.Conv2d, images: Tensor) -> Tensor:
    """Return the patches under a convolution's kernel in (B, C, H, W): (positions, C * kernel)."""
    mode = "constant" if part.padding_mode == "zeros" else part.padding_mode
    around = part._reversed_padding_repeated_twice
    padded = F.pad(images, around, mode=mode) if any(around) else images
    columns = F.unfold(padded, part.kernel_size, dilation=part.dilation, stride=part.stride)
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])


def _samples_at_once(part: nn.Conv2d, values: Tensor, answer: Tensor) -> int:
    each = part.weight[0].numel() * answer[0, 0].numel()
    return max(1, min(len(values), _PATCHES // each))
