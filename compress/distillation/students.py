"""A student made of some of its teacher's layers (as DistilBERT was: Sanh et al., 2019)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from compress.core.artifact import ModelSource
from compress.distillation.layer_choice import Which, chosen_layers
from compress.errors import StageError
from compress.models.layers import COUNT, layer_list
from compress.models.source import TransformersSource

_TYPES = "layer_types"
_POSITIONS = ("layer_idx", "layer_id", "layer_index", "layer_number", "n_layers", "num_layers")
"""What layers and their parents call a layer's place, and how many there are."""


class Student(NamedTuple):
    """A module that is yet to learn.

    Attributes
    ----------
    module : in eval mode on the CPU.
    source : rebuilds its skeleton.
    notes : how it was made.
    """

    module: nn.Module
    source: ModelSource
    notes: tuple[str, ...]


def keep_layers(
    module: nn.Module,
    source: ModelSource | None,
    *,
    layers: int | Sequence[int],
    which: Which = "even",
) -> Student:
    """A copy of a transformers model with some of its layers.

    Everything outside the layers (embeddings, poolers, heads) is copied, and so are earlier cuts
    inside them.

    Parameters
    ----------
    module : left as it was; a transformers model with one list of layers.
    source : the module's.
    layers : how many, at least 1; or which, as rising numbers from 0.
    which : where it is how many: evenly spaced ones, the first or the last.

    Raises
    ------
    StageError : there are fewer layers, or no single list of them was found.
    """
    total = getattr(getattr(module, "config", None), COUNT, None)
    if not isinstance(source, TransformersSource) or not isinstance(total, int):
        raise StageError(
            "a student by 'layers' needs a transformers model whose config counts its layers "
            f"({COUNT}). Got {type(module).__name__}; give the student by 'transformers' or "
            "'python'."
        )
    kept = chosen_layers(layers, total=total, which=which)
    path = layer_list(module)
    student = copy.deepcopy(module)
    _keep(student, path=path, kept=kept)
    new_source = _shorter(source, module=module, kept=kept)
    _take_positions(student, source=new_source)
    note = f"student: layers {', '.join(map(str, kept))} of the teacher's {total} (from 0)"
    return Student(student.eval(), new_source, (note,))


def _keep(student: nn.Module, *, path: str, kept: tuple[int, ...]) -> None:
    layers = student.get_submodule(path)
    parent, _, name = path.rpartition(".")
    chosen = [layer for place, layer in enumerate(layers.children()) if place in kept]
    setattr(student.get_submodule(parent), name, nn.ModuleList(chosen))
    # A model and its parts mostly share one config object; where they don't, each is told.
    for part in student.modules():
        config = part.__dict__.get("config")
        if isinstance(getattr(config, COUNT, None), int):
            setattr(config, COUNT, len(kept))
            types = getattr(config, _TYPES, None)
            if isinstance(types, list) and len(types) > len(kept):
                setattr(config, _TYPES, [types[place] for place in kept])


def _shorter(
    source: TransformersSource, *, module: nn.Module, kept: tuple[int, ...]
) -> TransformersSource:
    """The source with as many layers as were kept, under the name that its config has for it."""
    names: dict[str, str] = getattr(module.config, "attribute_map", {})
    changes: dict[str, Any] = {names.get(COUNT, COUNT): len(kept)}
    types = source.config.get(_TYPES)
    if isinstance(types, list):
        changes[_TYPES] = [types[place] for place in kept]
    return replace(source, config=source.config | changes)


def _take_positions(student: nn.Module, *, source: TransformersSource) -> None:
    """Number the layers anew, as in a model freshly built; also proves that one can be."""
    with torch.random.fork_rng(devices=[]):
        skeleton = source.build()
    odd = set(skeleton.state_dict()) ^ set(student.state_dict())
    if odd:
        raise StageError(
            f"the layers of {source.class_name} can't be chosen: a model with fewer of them has "
            f"other weights ({', '.join(sorted(odd)[:3])})."
        )
    fresh = dict(skeleton.named_modules())
    for name, part in student.named_modules():
        for attribute in _POSITIONS:
            value = fresh[name].__dict__.get(attribute) if name in fresh else None
            if isinstance(value, int) and attribute in part.__dict__:
                setattr(part, attribute, value)
