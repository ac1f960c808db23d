"""Masks of zeros in weights: chooses them, keeps them during training, and counts zeros."""

from __future__ import annotations

import copy
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from compress.errors import StageError, few
from compress.models.low_rank import is_conv1d
from compress.pruning.sparsity.options import Pattern, SparsityScope

_LEVEL = 6


class SparsifiableWeights(NamedTuple):
    """Paths of layers whose weights can be sparse, and a note on those that stay dense."""

    paths: list[str]
    notes: tuple[str, ...]


class _Masked(nn.Module):
    """A parametrization that keeps a weight's zeros during training."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


def find_weights(
    module: nn.Module, *, pattern: Pattern | None = None, exclude: Sequence[str] = ()
) -> SparsifiableWeights:
    """Find the layers whose weights can be sparse: linear layers and convolutions.

    A layer stays dense if its weight also belongs to another layer (an embedding), or if its inputs
    aren't a multiple of the pattern's group.

    Parameters
    ----------
    pattern : the pattern of zeros; None: any.
    exclude : patterns (*, ?) of paths that stay dense.

    Raises
    ------
    StageError : a pattern of paths fits no layer, or no layer is left.
    """
    layers = {
        name: part
        for name, part in module.named_modules()
        if isinstance(part, nn.Linear | _ConvNd) or is_conv1d(part)
    }
    for given in exclude:
        if not any(fnmatchcase(path, given) for path in layers):
            raise StageError(
                "'exclude' must be patterns that fit paths of linear or convolutional layers, such "
                f"as {few(list(layers), most=3)}. Got {given!r}, which fits none."
            )
    owners = Counter(
        id(parameter) for part in module.modules() for parameter in part.parameters(recurse=False)
    )
    paths: list[str] = []
    alone: dict[str, list[str]] = {}
    for path, part in layers.items():
        if any(fnmatchcase(path, given) for given in exclude):
            alone.setdefault("'exclude' says so", []).append(path)
        elif owners[id(part.weight)] > 1:
            alone.setdefault("its weight belongs to another layer too", []).append(path)
        elif pattern is not None and _grouped(part).shape[-1] % pattern.group:
            why = f"its inputs aren't a multiple of {pattern.group}"
            alone.setdefault(why, []).append(path)
        else:
            paths.append(path)
    reasons = "; ".join(f"{few(names, most=3)} ({why})" for why, names in alone.items())
    if not paths:
        raise StageError(
            f"{type(module).__name__} has no linear or convolutional weight to make sparse"
            f"{': ' + reasons if reasons else ''}."
        )
    return SparsifiableWeights(paths, (f"left dense: {reasons}.",) if reasons else ())


def masks_by_ratio(
    module: nn.Module, paths: Iterable[str], *, ratio: float, scope: SparsityScope
) -> dict[str, Tensor]:
    """Masks by layer that remove the smallest weights (Han et al., 2015).

    Parameters
    ----------
    ratio : the fraction that becomes zero, to the nearest weight.
    scope : `global` removes the smallest of all weights, `layer` the smallest of each layer.

    Returns
    -------
    For each path a boolean mask of its weight's shape, False at zeros. Of equal magnitudes the
    first become zero.
    """
    sizes = {path: _weight(module, path).abs() for path in paths}
    if scope == "layer":
        return {
            path: _without(size.flatten(), ratio).view(size.shape) for path, size in sizes.items()
        }
    kept = _without(torch.cat([size.flatten() for size in sizes.values()]), ratio)
    parts = torch.split(kept, [size.numel() for size in sizes.values()])
    return {
        path: part.view(size.shape) for (path, size), part in zip(sizes.items(), parts, strict=True)
    }


def masks_by_pattern(
    module: nn.Module, paths: Iterable[str], pattern: Pattern
) -> dict[str, Tensor]:
    """Masks that keep the N largest of every M weights along a layer's inputs.

    For a convolution these are M input channels at one place of the kernel (Mishra et al., 2021).
    """
    masks = {}
    for path in paths:
        part = module.get_submodule(path)
        sizes = _grouped(part).abs()
        groups = sizes.view(*sizes.shape[:-1], -1, pattern.group)
        order = groups.argsort(dim=-1, descending=True, stable=True)
        kept = torch.zeros_like(groups, dtype=torch.bool)
        kept.scatter_(-1, order[..., : pattern.keep], value=True)
        masks[path] = _ungrouped(part, kept.flatten(-2)).contiguous()
    return masks


def masked(module: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy whose zeros in weights stay zero under training, weight decay and rounding.

    `settled` makes it a plain module again.
    """
    made = copy.deepcopy(module)
    for path, mask in masks.items():
        part: Any = made.get_submodule(path)
        trained = part.weight.requires_grad
        parametrize.register_parametrization(part, "weight", _Masked(mask))
        part.parametrizations.weight.original.requires_grad_(trained)
    return made


def settled(module: nn.Module, plain: nn.Module) -> nn.Module:
    """A copy of `plain` with the tensors of a masked module: it has the zeros, but no masks.

    Parameters
    ----------
    module : a module from `masked`, or a trained copy of it.
    plain : the module that `masked` was given.
    """
    # Removing parametrizations in place would take them from the copies of the module too.
    made = copy.deepcopy(plain)
    with torch.no_grad():
        for name, tensor in chain(made.named_parameters(), made.named_buffers()):
            path, _, leaf = name.rpartition(".")
            tensor.copy_(getattr(module.get_submodule(path), leaf))
    return made


def zeros(module: nn.Module, paths: Iterable[str]) -> tuple[int, int]:
    """The number of zeros in these layers' weights, and the number of weights."""
    weights = [_weight(module, path) for path in paths]
    return (
        sum(int((weight == 0).sum()) for weight in weights),
        sum(weight.numel() for weight in weights),
    )


def compressed_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers, each once, after zlib (as in gzip, zip) at level 6."""
    total = 0
    for tensor in chain(module.parameters(), module.buffers()):
        plain = tensor.detach().cpu().contiguous()
        total += len(zlib.compress(plain.flatten().view(torch.uint8).numpy().tobytes(), _LEVEL))
    return total


def _weight(module: nn.Module, path: str) -> Tensor:
    return cast("Tensor", module.get_submodule(path).weight).detach()


def _without(sizes: Tensor, ratio: float) -> Tensor:
    """(V,) bool: False for the fraction `ratio` of the smallest sizes."""
    kept = torch.ones_like(sizes, dtype=torch.bool)
    kept[sizes.argsort(stable=True)[: round(ratio * len(sizes))]] = False
    return kept


def _grouped(part: nn.Module) -> Tensor:
    """A view of a layer's weight with its inputs in the last dimension."""
    return cast("Tensor", part.weight).detach().movedim(_inputs_dim(part), -1)


def _ungrouped(part: nn.Module, values: Tensor) -> Tensor:
    return values.movedim(-1, _inputs_dim(part))


def _inputs_dim(part: nn.Module) -> int:
    return 0 if is_conv1d(part) or isinstance(part, _ConvTransposeNd) else 1
