"""Makes a transformers model with only some of its layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from torch import nn

from compress.core.artifact import ModelSource
from compress.errors import StageError
from compress.models.source import LowRankSource, TransformersSource
from compress.models.structure.layers import COUNT, layer_list
from compress.models.weights.weightless import without_weights

_TYPES = "layer_types"
_PLACES = (
    "layer_idx",
    "layer_id",
    "layer_index",
    "layer_number",
    "n_layers",
    "num_layers",
    "has_relative_attention_bias",
)
"""Attributes with a layer's place, the number of layers, or whether a layer is the first."""
_ELSE = "A `distill` stage with a student by 'transformers' or 'python' makes it smaller."


class Shorter(NamedTuple):
    """A model with fewer layers.

    Attributes
    ----------
    module : the new module, in eval mode.
    source : rebuilds its skeleton.
    """

    module: nn.Module
    source: TransformersSource


def count_layers(module: nn.Module, source: ModelSource | None) -> int:
    """The number of layers of a model whose layers can be chosen.

    Raises
    ------
    StageError : it isn't a transformers model, its layers differ in width, or no single list of
        them was found.
    """
    name, config = type(module).__name__, getattr(module, "config", None)
    if isinstance(source, LowRankSource):
        raise StageError(
            f"the layers of this {name} can't be chosen any more: an earlier stage split some "
            "of their parts into two. Choose layers first, and split after it."
        )
    if not isinstance(source, TransformersSource):
        raise StageError(
            f"choosing layers needs a transformers model with one list of them. Got {name}: the "
            f"function that makes it can't be told which of its layers remain. {_ELSE}"
        )
    if isinstance(getattr(config, "depths", None), list | tuple):
        raise StageError(
            f"choosing layers needs a transformers model with one list of them. Got {name}: its "
            f"layers stand in stages that differ in width and resolution. {_ELSE}"
        )
    total = getattr(config, COUNT, None)
    if not isinstance(total, int):
        raise StageError(
            "choosing layers needs a transformers model whose config counts them "
            f"({COUNT}). Got {name}. {_ELSE}"
        )
    layer_list(module)
    return total


def keep_layers(
    module: nn.Module, source: ModelSource | None, *, kept: Sequence[int], share: bool = False
) -> Shorter:
    """A copy of a transformers model with some of its layers.

    Everything outside the layers (embeddings, poolers, heads) is copied, and so are earlier cuts
    inside them. Submodules that only the first layer has (T5's relative positions, which all layers
    use) are handed to the new first layer.

    Parameters
    ----------
    module : the model; it is left as it was.
    source : the module's source.
    kept : ascending numbers of layers, from 0; at least one.
    share : share the module's weights with the copy, for measuring without more memory.

    Raises
    ------
    StageError : see `count_layers`; or the source can't rebuild the smaller model.
    """
    count_layers(module, source)
    if not isinstance(source, TransformersSource):
        raise TypeError("count_layers lets only sources of transformers models pass.")
    tensors = [*module.parameters(), *module.buffers()]
    smaller = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    _keep(smaller, path=layer_list(module), kept=kept)
    smaller_source = _with_count(source, module=module, kept=kept)
    _take_places(smaller, source=smaller_source)
    return Shorter((smaller if share else copy.deepcopy(smaller)).eval(), smaller_source)


def _keep(smaller: nn.Module, *, path: str, kept: Sequence[int]) -> None:
    layers = list(smaller.get_submodule(path).children())
    chosen = [layers[place] for place in kept]
    if kept[0] != 0:
        _hand_on(layers[0], rest=layers[1:], to=chosen[0])
    parent, _, name = path.rpartition(".")
    setattr(smaller.get_submodule(parent), name, nn.ModuleList(chosen))
    # A model and its parts mostly share one config object. Otherwise each config is changed.
    for part in smaller.modules():
        config = part.__dict__.get("config")
        if isinstance(getattr(config, COUNT, None), int):
            setattr(config, COUNT, len(kept))
            types = getattr(config, _TYPES, None)
            if isinstance(types, list) and len(types) > len(kept):
                setattr(config, _TYPES, [types[place] for place in kept])


def _hand_on(first: nn.Module, *, rest: Sequence[nn.Module], to: nn.Module) -> None:
    """Move the submodules that only the first layer has to another layer."""
    others = {name for layer in rest for name, _ in layer.named_modules()}
    for name, part in list(first.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if name not in others and parent in others:
            to.get_submodule(parent).add_module(leaf, part)


def _with_count(
    source: TransformersSource, *, module: nn.Module, kept: Sequence[int]
) -> TransformersSource:
    """The source with the number of kept layers, under its config's key for it."""
    names: dict[str, str] = getattr(module.config, "attribute_map", {})
    changes: dict[str, Any] = {names.get(COUNT, COUNT): len(kept)}
    types = source.config.get(_TYPES)
    if isinstance(types, list):
        changes[_TYPES] = [types[place] for place in kept]
    return replace(source, config=source.config | changes)


def _take_places(smaller: nn.Module, *, source: TransformersSource) -> None:
    """Renumber the layers like a newly built model, and require that one can be built."""
    with without_weights():
        skeleton = source.build()
    odd = set(skeleton.state_dict()) ^ set(smaller.state_dict())
    if odd:
        raise StageError(
            f"these layers of {source.class_name} can't be chosen: a model with fewer of them has "
            f"other weights ({', '.join(sorted(odd)[:3])})."
        )
    fresh = dict(skeleton.named_modules())
    for name, part in smaller.named_modules():
        for attribute in _PLACES:
            value = fresh[name].__dict__.get(attribute) if name in fresh else None
            if isinstance(value, int) and attribute in part.__dict__:
                setattr(part, attribute, value)
