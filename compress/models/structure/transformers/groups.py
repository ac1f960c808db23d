"""Units of transformers whose families are described, as groups to cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from torch import nn

from compress.errors import StageError
from compress.models.structure.groups import Group, block_index
from compress.models.structure.transformers.families import LAYOUTS, family, laid_out_layers
from compress.models.structure.transformers.heads import head_width, heads, shared_heads
from compress.models.structure.transformers.hidden import hidden
from compress.models.structure.transformers.layer import TransformerLayer
from compress.models.structure.transformers.layout import Layout
from compress.models.structure.unit import Unit

_CHANNELS = "its layers are described, and have feed-forward neurons and heads instead"


def prunable(kind: str) -> Mapping[Unit, str | None]:
    """What a described family can lose.

    Parameters
    ----------
    kind : a key of `compress.models.structure.transformers.families.LAYOUTS`.

    Returns
    -------
    Of every unit: None where it can be cut, otherwise why not.
    """
    refused = {"channels": _CHANNELS, **LAYOUTS[kind].refuses}
    return {unit: refused.get(unit) for unit in get_args(Unit)}


def family_groups(module: nn.Module, *, units: Sequence[Unit]) -> list[Group]:
    """The units of a module of a described family, layer by layer.

    Parameters
    ----------
    units : what is wanted, all of which the family can lose.

    Raises
    ------
    StageError : its layers aren't laid out as the family's.
    """
    layout, paths = _laid_out(module)
    layers = [TransformerLayer(module, path, layout) for path in paths]
    groups: list[Group] = []
    for layer in layers:
        if "heads" in units and layout.shared_bias is None:
            groups.append(heads(layer))
        if "head_width" in units:
            groups.append(head_width(module, layer))
        if "feed_forward" in units:
            groups.append(_neurons(layer))
    if "heads" in units and layout.shared_bias is not None:
        groups.append(shared_heads(module, layers, bias=layout.shared_bias))
    if "hidden" in units:
        groups += hidden(module)
    return groups


def _laid_out(module: nn.Module) -> tuple[Layout, list[str]]:
    """The family's form that the module has, and its layers.

    Raises
    ------
    StageError : there is no such layer, or one beside them that is laid out otherwise.
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
        f"{type(module).__name__} (model_type {kind!r}) isn't laid out as transformers 5 lays "
        f"out {kind!r}: {where} {', '.join(layout.linears)}."
    )


def _neurons(layer: TransformerLayer) -> Group:
    """The feed-forward's neurons; of a gated one each with its gate."""
    layout = layer.layout
    index = block_index(layer.width(layout.up), 1)
    makers = [layout.up] if layout.gate is None else [layout.gate, layout.up]
    slices = [part for path in makers for part in layer.made(path, index)]
    slices.append(layer.read(layout.down, index))
    return Group(layer.path(layout.up), "feed_forward", len(index), tuple(slices))
