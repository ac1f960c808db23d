"""Groups of units of a module of a described transformers family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import torch
from torch import nn

from compress.errors import StageError
from compress.models.structure.groups import Group, block_index
from compress.models.structure.transformers.families import LAYOUTS, family, laid_out_layers
from compress.models.structure.transformers.heads import head_width, heads, shared_heads
from compress.models.structure.transformers.hidden import hidden
from compress.models.structure.transformers.layer import TransformerLayer
from compress.models.structure.transformers.layout import Layout
from compress.models.structure.unit import Unit

_CHANNELS = "its described layers have feed-forward neurons and heads instead"


def prunable(kind: str) -> Mapping[Unit, str | None]:
    """The kinds of units that can be cut from a described family.

    Parameters
    ----------
    kind : a key of `compress.models.structure.transformers.families.LAYOUTS`.

    Returns
    -------
    For every kind of unit, None if it can be cut, or the reason why not.
    """
    refused = {"channels": _CHANNELS, **LAYOUTS[kind].refuses}
    return {unit: refused.get(unit) for unit in get_args(Unit)}


def family_groups(module: nn.Module, *, units: Sequence[Unit]) -> list[Group]:
    """The units of a module of a described family, layer by layer.

    Parameters
    ----------
    units : the wanted kinds of units, all of which can be cut from the family.

    Raises
    ------
    StageError : the layers don't have the family's layout.
    """
    layout, paths = _laid_out(module)
    layers = [TransformerLayer(module, path, layout) for path in paths]
    groups: list[Group] = []
    for path, layer in zip(paths, layers, strict=True):
        attentions = [layer, *_across(module, path, layout)]
        if "heads" in units and layout.shared_bias is None:
            groups += [heads(attention) for attention in attentions]
        if "head_width" in units:
            groups += [head_width(module, attention) for attention in attentions]
        if "feed_forward" in units:
            groups.append(_neurons(layer))
    if "heads" in units and layout.shared_bias is not None:
        groups.append(shared_heads(module, layers, bias=layout.shared_bias))
    if "hidden" in units:
        groups += hidden(module)
    return groups


def _laid_out(module: nn.Module) -> tuple[Layout, list[str]]:
    """The form of the family that the module has, and the paths of its layers.

    Raises
    ------
    StageError : no layer has such a layout, or a layer beside them has another one.
    """
    kind = family(module) or ""
    every = LAYOUTS[kind]
    found = {form: laid_out_layers(module, form) for form in every.forms}
    layout, paths = max(found.items(), key=lambda pair: len(pair[1]))
    lists = dict.fromkeys(path.rpartition(".")[0] for path in paths)
    beside = [
        f"{path}.{name}"
        for path in lists
        for name, _ in module.get_submodule(path).named_children()
    ]
    odd = next((path for path in beside if path not in paths), None)
    if odd is None and paths:
        return layout, paths
    where = "no layer has" if odd is None else f"{odd} doesn't have"
    raise StageError(
        f"{type(module).__name__} (model_type {kind!r}) doesn't have the layout of "
        f"{kind!r} in transformers 5: {where} {', '.join(layout.linears)}."
    )


def _across(module: nn.Module, path: str, layout: Layout) -> list[TransformerLayer]:
    """A decoder's layer with its attention to an encoder; empty if the model has none of them.

    A decoder alone keeps that attention's parameters, but never reads them.
    """
    across, both = layout.across, getattr(module.config, "is_encoder_decoder", False)
    if across is None or not both:
        return []
    named = dict(module.get_submodule(path).named_children())
    return [TransformerLayer(module, path, across)] if across.attention in named else []


def _neurons(layer: TransformerLayer) -> Group:
    """The neurons of a layer's feed-forward, with their gates if it is gated."""
    layout = layer.layout
    index = block_index(layer.width(layout.up) // (2 if layout.packed else 1), 1)
    makers = dict.fromkeys([layout.gate or layout.up, layout.up])
    made = torch.cat([index, index + len(index)], dim=1) if layout.packed else index
    slices = [part for path in makers for part in layer.made(path, made)]
    slices.append(layer.read(layout.down, index))
    return Group(layer.path(layout.up), "feed_forward", len(index), tuple(slices))
