"""One layer of a described transformer, with the current sizes of its tensors."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from compress.models.structure.groups import Attribute, Slice
from compress.models.structure.transformers.layout import Layout


class TransformerLayer:
    """Finds the tensors that have a layer's units, by the layout of its family.

    Sizes are read from the tensors, as an earlier cut may have left others than the config's.

    Attributes
    ----------
    attention : path of the module that splits into heads.
    head_size : width of one head.
    heads : number of heads of keys and values.
    queries : number of heads of queries that read one of them.
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
        """Path of a part of the layer in the whole module."""
        return f"{self._path}.{part}"

    def has(self, part: str) -> bool:
        """Return whether the layer has a part."""
        parent, _, name = part.rpartition(".")
        return name in dict(self._module.get_submodule(self.path(parent)).named_children())

    def width(self, part: str) -> int:
        """Number of units that a linear layer makes."""
        weight = self._module.get_submodule(self.path(part)).get_parameter("weight")
        return int(weight.shape[1 if self.layout.transposed else 0])

    def made(self, part: str, index: Tensor) -> Iterator[Slice]:
        """Yield the slices of units that a linear layer makes: weights, and biases if any."""
        path = self.path(part)
        yield Slice(path, "weight", 1 if self.layout.transposed else 0, index)
        if getattr(self._module.get_submodule(path), "bias", None) is not None:
            yield Slice(path, "bias", 0, index)

    def read(self, part: str, index: Tensor) -> Slice:
        """The slice of units that a linear layer reads."""
        return Slice(self.path(part), "weight", 0 if self.layout.transposed else 1, index)

    def projected(self, *, queries: Tensor, keys: Tensor, values: Tensor) -> list[Slice]:
        """The slices of queries, keys and values with these units, (U, K) indices among each."""
        layout = self.layout
        if layout.fused:
            step = self.heads * self.head_size
            every = torch.cat([queries, keys + step, values + 2 * step], dim=1)
            return list(self.made(layout.query, every))
        parts = ((layout.query, queries), (layout.key, keys), (layout.value, values))
        return [part for path, index in parts for part in self.made(path, index)]

    def attributes(self, *names: str | None) -> tuple[Attribute, ...]:
        """The attention's attributes of these names, without None."""
        return tuple(Attribute(self.attention, name) for name in names if name is not None)
