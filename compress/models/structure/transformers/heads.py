"""Groups of the attention heads of described transformers, and of the width within heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compress.models.structure.groups import Group, Slice, block_index, squares
from compress.models.structure.transformers.layer import TransformerLayer


def heads(layer: TransformerLayer) -> Group:
    """The heads of one layer.

    If several heads of queries share a head of keys and values, a unit is that head with all heads
    of queries that read it, so that every query keeps its keys and values.
    """
    layout, size = layer.layout, layer.head_size
    shared = block_index(layer.heads, size)
    queries = block_index(layer.heads, layer.queries * size)
    slices = layer.projected(queries=queries, keys=shared, values=shared)
    for path in filter(layer.has, layout.also):
        slices += layer.made(path, queries)
    slices.append(layer.read(layout.output, queries))
    if layout.bias is not None:
        path, _, name = layer.path(layout.bias).rpartition(".")
        slices.append(Slice(path, name, 1, block_index(layer.heads, layer.queries)))
    attributes = layer.attributes(layout.heads, layout.all_heads)
    return Group(
        layer.attention, "heads", layer.heads, tuple(slices), attributes, (layer.attention,)
    )


def shared_heads(module: nn.Module, layers: Sequence[TransformerLayer], *, bias: str) -> Group:
    """The heads of all layers that share the embedding `bias`, which is added to their scores."""
    each = [heads(layer) for layer in layers]
    paths = [path for path, _ in module.named_modules() if path.split(".")[-1] == bias]
    units = each[0].units
    return Group(
        "heads",
        "heads",
        units,
        (
            *(part for group in each for part in group.slices),
            *(Slice(path, "weight", 1, block_index(units, 1)) for path in paths),
        ),
        tuple(attribute for group in each for attribute in group.attributes),
        tuple(path for group in each for path in group.attentions),
    )


def head_width(module: nn.Module, layer: TransformerLayer) -> Group:
    """The places within the heads of one layer.

    A place of the queries is cut with the same place of the keys, by which it is multiplied, and a
    place of the values with that of the output. These pairs depend on nothing else: any pair of one
    head can be cut with any pair of another, as long as all heads stay equally wide. Unit r is
    therefore the r-th least important pair of queries and keys of each head, and the r-th least
    important pair of values and outputs, by the sum of the squares of their weights.
    """
    layout, units = layer.layout, layer.head_size
    alone = block_index(layer.heads * units, 1)
    # `projected` separates them, so that fused layers need no case of their own.
    none = alone[:, :0]
    scored = layer.projected(queries=alone, keys=alone, values=none)
    written = [*layer.projected(queries=none, keys=none, values=alone)]
    written.append(layer.read(layout.output, alone))
    scores, answers = (_ranked(squares(module, part), units) for part in (scored, written))
    slices = layer.projected(queries=scores, keys=scores, values=answers)
    slices.append(layer.read(layout.output, answers))
    return Group(
        f"{layer.attention}.head_width",
        "head_width",
        units,
        tuple(slices),
        layer.attributes(layout.head_size, layout.all_heads),
        (layer.attention,),
    )


def _ranked(energies: Tensor, width: int) -> Tensor:
    """(width, heads) indices: row r has the r-th smallest of each head."""
    order = energies.reshape(-1, width).argsort(dim=1, stable=True)
    return (order + width * torch.arange(len(order))[:, None]).T.contiguous()
