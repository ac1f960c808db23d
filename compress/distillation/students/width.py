"""A student with fewer units than its teacher, cut from the teacher's weights.

What Sun et al. ("MobileBERT", ACL 2020) train from nothing is cut here: as in Muralidharan et al.,
"Compact Language Models via Pruning and Knowledge Distillation", NeurIPS 2024, arXiv:2407.14679,
the least important units go from every tensor that has them, and distillation mends the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from compress.core.artifact import ModelSource
from compress.distillation.students.layers import Student
from compress.distillation.students.spec import Width
from compress.distillation.students.width_sizes import Sizes, described, narrowed, sizes_of
from compress.errors import StageError
from compress.models.source import TransformersSource
from compress.models.structure.transformers.axes import Axis
from compress.models.structure.transformers.families import (
    DECODERS,
    FAMILIES,
    Layout,
    laid_out_layers,
)

Place = tuple[Axis, str]
"""An axis, and the path of the layer that it belongs to ("" where all layers share it)."""


def narrow(module: nn.Module, source: ModelSource | None, *, width: Width) -> Student:
    """A narrower copy of a transformers model, with its most important units.

    A unit's importance is the sum of the squares of all weights that make it or read it: of a
    hidden unit in every matrix of the model, of a neuron or a head in its layer, biases included.
    Units keep their order. Layer normalisation then runs over the units that are left: the student
    answers as the teacher would if its normalisations saw those alone, and all others were zero.

    Layers that were pruned before keep what they have where that is less than `width` says.

    Parameters
    ----------
    module : left as it was; of a family that `models.structure.transformers.families` describes.
    source : the module's.

    Raises
    ------
    StageError : the family isn't known, or the sizes don't fit it.
    """
    if not isinstance(source, TransformersSource):
        raise StageError(
            f"'width' needs a transformers model. Got {type(module).__name__}; give the student by "
            "'python'."
        )
    sizes, changes = narrowed(source.config, width)
    new_source = replace(source, config=source.config | changes)
    tensors = _Tensors(module, source, sizes_of(source.config))
    kept = _choose(tensors, sizes)
    with torch.random.fork_rng(devices=[]):
        student = new_source.build()
    _fill(student, tensors, kept)
    if any(tensors.heads(layer) < sizes.heads for layer in tensors.layers):
        _tell_heads(student, tensors, sizes)
    old = sizes_of(source.config)
    parts = ", ".join(
        f"{new} of {was} {name}"
        for name, new, was in (
            ("hidden units", sizes.hidden, old.hidden),
            ("neurons", sizes.neurons, old.neurons),
            ("heads", sizes.heads, old.heads),
        )
    )
    return Student(
        student.eval(), new_source, (f"student: {parts}, those with the largest weights",)
    )


class _Tensors:
    """A module's parameters, and what their dimensions run along."""

    def __init__(self, module: nn.Module, source: TransformersSource, sizes: Sizes) -> None:
        self.layout: Layout = (FAMILIES | DECODERS)[source.config["model_type"]]
        self.sizes = sizes
        self.layers = laid_out_layers(module, self.layout)
        self.parameters = {name: p.detach() for name, p in module.named_parameters()}
        shapes = {name: tuple(p.shape) for name, p in self.parameters.items()}
        self._axes = described(shapes, config=source.config).axes
        if not self.layers:
            raise StageError(
                f"{type(module).__name__} isn't laid out as {source.config['model_type']!r}: no "
                f"layer has {', '.join(self.layout.linears)}."
            )
        for layer in self.layers:
            attention = module.get_submodule(f"{layer}.{self.layout.attention}")
            size = getattr(attention, self.layout.head_size)
            if size != sizes.head_size:
                raise StageError(
                    f"'width' needs heads as wide as the config says ({sizes.head_size}). Those of "
                    f"{layer} were pruned to {size}; let `width` come first."
                )

    def places(self, name: str) -> list[tuple[int, Place]]:
        """The dimensions of a parameter that can be cut, each with its place."""
        layer = next((path for path in self.layers if name.startswith(f"{path}.")), "")
        if self.layout.shared_bias is not None:
            layer = "" if "neurons" not in (self._axes[name] or ()) else layer
        return [
            (dim, (axis, "" if axis in ("hidden", "pooled") else layer))
            for dim, axis in enumerate(self._axes[name] or ())
            if axis is not None
        ]

    def heads(self, layer: str) -> int:
        """Heads that a layer has; fewer than the config says where it was pruned."""
        rows = self.parameters[f"{layer}.{self.layout.query}.weight"].shape[0]
        return int(rows) // self.sizes.head_size

    def energies(self) -> Iterator[tuple[Place, Tensor]]:
        """Sums of squares along each dimension that can be cut, float64."""
        for name, tensor in self.parameters.items():
            squares = tensor.double().square()
            for dim, place in self.places(name):
                if place[0] in ("hidden", "pooled") and tensor.dim() < 2:
                    continue  # a bias or a normalisation's gain doesn't say how much is read
                rest = [other for other in range(tensor.dim()) if other != dim]
                yield place, squares.sum(dim=rest) if rest else squares


def _choose(tensors: _Tensors, sizes: Sizes) -> dict[Place, Tensor]:
    """The indices that stay along each place, in order."""
    sums: dict[Place, Tensor] = {}
    units: dict[str, Tensor] = {}
    ratio = tensors.sizes.heads // tensors.sizes.key_value_heads
    for (axis, layer), energy in tensors.energies():
        if axis in ("heads", "key_values", "head_count"):
            # A unit is a head of keys and values with the queries' heads that read it.
            width = _unit(axis, ratio, tensors.sizes.head_size)
            energy = energy.reshape(-1, width).sum(dim=1)
            units[layer] = units[layer] + energy if layer in units else energy
            sums.setdefault((axis, layer), energy)
        else:
            place = (axis, layer)
            sums[place] = sums[place] + energy if place in sums else energy
    kept: dict[Place, Tensor] = {}
    for (axis, layer), energy in sums.items():
        if axis in ("heads", "key_values", "head_count"):
            chosen = _largest(units[layer], sizes.key_value_heads)
            width = _unit(axis, ratio, tensors.sizes.head_size)
            kept[axis, layer] = (chosen[:, None] * width + torch.arange(width)).flatten()
        else:
            kept[axis, layer] = _largest(energy, sizes.along(axis))
    return kept


def _unit(axis: Axis, ratio: int, head_size: int) -> int:
    """How many neighbouring indices along an axis one key-value head goes with."""
    return {"heads": ratio * head_size, "key_values": head_size}.get(axis, ratio)


def _largest(energy: Tensor, count: int) -> Tensor:
    """The `count` largest ones' indices in rising order; of equal ones the first."""
    order = energy.argsort(descending=True, stable=True)
    return order[: min(count, len(energy))].sort().values


def _fill(student: nn.Module, tensors: _Tensors, kept: Mapping[Place, Tensor]) -> None:
    """Put the cut tensors into a model freshly built."""
    own = dict(student.named_parameters())
    odd = own.keys() ^ tensors.parameters.keys()
    if odd:
        raise StageError(
            f"{type(student).__name__} can't be narrowed: a narrower one has other weights "
            f"({', '.join(sorted(odd)[:3])})."
        )
    for name, tensor in tensors.parameters.items():
        for dim, place in tensors.places(name):
            tensor = tensor.index_select(dim, kept[place].to(tensor.device))
        if own[name].shape == tensor.shape:
            own[name].data.copy_(tensor)
            continue
        # Only layers that were pruned before have other shapes than the config says.
        path, _, leaf = name.rpartition(".")
        part = student.get_submodule(path)
        setattr(part, leaf, nn.Parameter(tensor.clone()))
        if isinstance(part, nn.Linear):
            part.out_features, part.in_features = part.weight.shape
        elif isinstance(part, nn.Embedding):
            part.num_embeddings, part.embedding_dim = part.weight.shape
        elif isinstance(part, nn.LayerNorm):
            part.normalized_shape = tuple(part.weight.shape)


def _tell_heads(student: nn.Module, tensors: _Tensors, sizes: Sizes) -> None:
    """Let pruned layers know how many heads they have."""
    layout = tensors.layout
    for layer in tensors.layers:
        heads = min(tensors.heads(layer), sizes.heads)
        attention = student.get_submodule(f"{layer}.{layout.attention}")
        if layout.heads is not None:
            setattr(attention, layout.heads, heads)
        if layout.all_heads is not None:
            setattr(attention, layout.all_heads, heads * sizes.head_size)
