"""Groups of the hidden units, which all layers of a described transformer read and write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from compress.errors import StageError, few
from compress.models.structure.groups import Group, Slice
from compress.models.structure.transformers.axes import known_axes
from compress.models.structure.transformers.layout import Axes

_STAGE = re.compile(r"(?:^|\.)layers\.(\d+)\.(?:blocks|downsample)\.")
_MERGED = 4
"""Number of patches whose units are concatenated where a stage begins."""


class _UnitDim(NamedTuple):
    """A parameter's dimension that has every unit `patches` times, patch by patch."""

    tensor: str
    dim: int
    patches: int = 1


def hidden(module: nn.Module) -> list[Group]:
    """The groups of the hidden units, and of the pooler's units if there is a pooler.

    A hidden unit is in every matrix of the model: embeddings, positions and class tokens, each
    layer's inputs and outputs, gains of normalisations, and layers that read the last one. If
    stages differ in width, each has a group. A pooler has as many units, but they are a group of
    their own.

    Raises
    ------
    StageError : the family's description doesn't name some parameters.
    """
    tensors = dict(module.named_parameters())
    places: dict[str, list[_UnitDim]] = {}
    axes = known_axes(
        {name: tensor.dim() for name, tensor in tensors.items()},
        config=module.config.to_dict(),  # type: ignore[union-attr, operator]
    )
    for group, place in _places(axes, last=_last_stage(tensors)):
        places.setdefault(group, []).append(place)
    return [_group(name, found, tensors) for name, found in places.items()]


def _places(axes: Mapping[str, Axes], *, last: int) -> Iterator[tuple[str, _UnitDim]]:
    """Yield each dimension that runs along such units, with the name of its group."""
    pooler = next((name for name, along in axes.items() if along[0] == "pooled"), "")
    for name, along in axes.items():
        stage = _stage(name, last=last)
        for dim, axis in enumerate(along):
            if axis == "pooled":
                yield pooler.rpartition(".")[0], _UnitDim(name, dim)
            elif axis == "merged":
                yield _named(stage, last=last), _UnitDim(name, dim, patches=_MERGED)
            elif axis == "hidden":
                # The layer that merges patches makes the units of the next stage.
                made = stage + 1 if "merged" in along else stage
                yield _named(made, last=last), _UnitDim(name, dim)


def _last_stage(names: Iterable[str]) -> int:
    """Number of the last stage; 0 if all layers are equally wide."""
    return max((int(found[1]) for found in map(_STAGE.search, names) if found), default=0)


def _stage(name: str, *, last: int) -> int:
    found = _STAGE.search(name)
    if found is not None:
        return int(found[1])
    return 0 if ".embeddings." in f".{name}" else last


def _named(stage: int, *, last: int) -> str:
    return "hidden" if last == 0 else f"hidden.{stage}"


def _group(name: str, places: Sequence[_UnitDim], tensors: Mapping[str, Tensor]) -> Group:
    sizes = {tensors[place.tensor].shape[place.dim] // place.patches for place in places}
    if len(sizes) != 1:
        odd = [f"{place.tensor} {tuple(tensors[place.tensor].shape)}" for place in places]
        raise StageError(f"'hidden' can't be cut: these have no width in common: {few(odd)}.")
    (units,) = sizes
    slices = []
    for place in places:
        index = torch.arange(place.patches * units).reshape(place.patches, units).T.contiguous()
        path, _, tensor = place.tensor.rpartition(".")
        slices.append(Slice(path, tensor, place.dim, index))
    return Group(name, "hidden", units, tuple(slices))
