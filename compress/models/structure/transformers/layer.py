"""One layer of a described transformer, with the sizes that its tensors have now."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from compress.models.structure.groups import Attribute, Slice
from compress.models.structure.transformers.layout import Layout


class TransformerLayer:
    """Says which tensors have units of a layer, whichever way its family lays it out.

    Sizes are read off the tensors: an earlier cut may have left other ones than the config says.

    Attributes
    ----------
    attention : path of the module that splits into heads.
    head_size : width of one head.
    heads : of keys and values.
    queries : heads of queries that read one of these.
    """

    def __init__(self, module: nn.Module, path: str, layout: Layout) -> None:
        self._module = module
        self._path = path
        self.layout = layout
        self.attention = self.path(layout.attention)
        self.head_size = int(getattr(module.get_submodule(self.attention), layout.head_size))
        made = self.width(layout.key) // (3 if layout.fused else 1)
        self.heads = made // self.head_size
        self.queries = 1 if layout.fused else self.width(layout.query) // made

    def path(self, part: str) -> str:
        """Where a part of the layer is in the whole module."""
        return f"{self._path}.{part}"

    def has(self, part: str) -> bool:
        """Whether the layer has a part."""
        parent, _, name = part.rpartition(".")
        return name in dict(self._module.get_submodule(self.path(parent)).named_children())

    def width(self, part: str) -> int:
        """How many units a linear layer makes."""
        weight = self._module.get_submodule(self.path(part)).get_parameter("weight")
        return int(weight.shape[1 if self.layout.transposed else 0])

    def made(self, part: str, index: Tensor) -> Iterator[Slice]:
        """The units that a linear layer makes, and their biases where it has such."""
        path = self.path(part)
        yield Slice(path, "weight", 1 if self.layout.transposed else 0, index)
        if getattr(self._module.get_submodule(path), "bias", None) is not None:
            yield Slice(path, "bias", 0, index)

    def read(self, part: str, index: Tensor) -> Slice:
        """The units that a linear layer reads."""
        return Slice(self.path(part), "weight", 0 if self.layout.transposed else 1, index)

    def projected(self, *, queries: Tensor, keys: Tensor, values: Tensor) -> list[Slice]:
        """The units of queries, keys and values: (U, K) indices among all of each."""
        layout = self.layout
        if layout.fused:
            step = self.heads * self.head_size
            every = torch.cat([queries, keys + step, values + 2 * step], dim=1)
            return list(self.made(layout.query, every))
        parts = ((layout.query, queries), (layout.key, keys), (layout.value, values))
        return [part for path, index in parts for part in self.made(path, index)]

    def attributes(self, *names: str | None) -> tuple[Attribute, ...]:
        """Those numbers of the attention that it has."""
        return tuple(Attribute(self.attention, name) for name in names if name is not None)
