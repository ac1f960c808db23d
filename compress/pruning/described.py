"""Attention heads and feed-forward neurons of transformers' encoder families, as groups to cut."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from compress.errors import StageError
from compress.models.families import FAMILIES, Layout, family, laid_out_layers
from compress.pruning.groups import Attribute, Group, Slice, block_index
from compress.pruning.options import Unit


def family_groups(module: nn.Module, *, units: Sequence[Unit]) -> list[Group]:
    """Heads and neurons of a module that `FAMILIES` describes, in the order of its layers.

    Raises
    ------
    StageError : its layers aren't laid out as the family's.
    """
    kind = family(module) or ""
    layout = FAMILIES[kind]
    layers = laid_out_layers(module, layout)
    if not layers:
        raise StageError(
            f"{type(module).__name__} (model_type {kind!r}) isn't laid out as transformers 5 lays "
            f"out {kind!r}: no layer has {', '.join(layout.linears)}."
        )
    groups: list[Group] = []
    for path in layers:
        if "heads" in units and layout.shared_bias is None:
            groups.append(_heads(module, path, layout))
        if "feed_forward" in units:
            groups.append(_neurons(module, path, layout))
    if "heads" in units and layout.shared_bias is not None:
        groups.append(_shared_heads(module, layers, layout))
    return groups


def _rows(path: str, linear: nn.Module, index: Tensor) -> list[Slice]:
    """What makes the units: a linear layer's rows, and its bias where it has one."""
    slices = [Slice(path, "weight", 0, index)]
    return slices if linear.bias is None else [*slices, Slice(path, "bias", 0, index)]


def _neurons(module: nn.Module, layer: str, layout: Layout) -> Group:
    up, down = f"{layer}.{layout.up}", f"{layer}.{layout.down}"
    linear = module.get_submodule(up)
    index = block_index(linear.get_parameter("weight").shape[0], 1)
    slices = (*_rows(up, linear, index), Slice(down, "weight", 1, index))
    return Group(up, "feed_forward", len(index), slices)


def _heads(module: nn.Module, layer: str, layout: Layout) -> Group:
    name = f"{layer}.{layout.attention}"
    attention = module.get_submodule(name)
    heads, size = getattr(attention, layout.heads), getattr(attention, layout.head_size)
    index = block_index(heads, size)
    slices: list[Slice] = []
    for projection in (layout.query, layout.key, layout.value):
        path = f"{layer}.{projection}"
        slices += _rows(path, module.get_submodule(path), index)
    slices.append(Slice(f"{layer}.{layout.output}", "weight", 1, index))
    attributes = [Attribute(name, layout.heads)]
    if layout.all_heads is not None:
        attributes.append(Attribute(name, layout.all_heads))
    return Group(name, "heads", heads, tuple(slices), tuple(attributes), (name,))


def _shared_heads(module: nn.Module, layers: Sequence[str], layout: Layout) -> Group:
    each = [_heads(module, layer, layout) for layer in layers]
    bias = next(p for p, _ in module.named_modules() if p.split(".")[-1] == layout.shared_bias)
    return Group(
        f"{bias} and all layers",
        "heads",
        each[0].units,
        (
            *(part for group in each for part in group.slices),
            Slice(bias, "weight", 1, block_index(each[0].units, 1)),
        ),
        tuple(attribute for group in each for attribute in group.attributes),
        tuple(path for group in each for path in group.attentions),
    )
