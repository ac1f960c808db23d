"""A student made of some of its teacher's layers (as DistilBERT was: Sanh et al., 2019)."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn

from compress.core.artifact import ModelSource
from compress.errors import StageError
from compress.models.source import TransformersSource

_COUNT = "num_hidden_layers"
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


def evenly_spaced(count: int, *, total: int) -> tuple[int, ...]:
    """`count` of the indices below `total`, first and last among them (of one: the first).

    >>> evenly_spaced(6, total=12)
    (0, 2, 4, 7, 9, 11)
    """
    if count == 1:
        return (0,)
    return tuple(int(place * (total - 1) / (count - 1) + 0.5) for place in range(count))


def keep_layers(module: nn.Module, source: ModelSource | None, *, layers: int) -> Student:
    """A copy of a transformers encoder with so many of its layers, evenly spaced.

    Everything outside the layers (embeddings, poolers, heads) is copied, and so are earlier cuts
    inside them.

    Parameters
    ----------
    module : left as it was; a transformers model with one list of layers.
    source : the module's.
    layers : at least 1, at most as many as there are.

    Raises
    ------
    StageError : there are fewer layers, or no single list of them was found.
    """
    total = getattr(getattr(module, "config", None), _COUNT, None)
    if not isinstance(source, TransformersSource) or not isinstance(total, int):
        raise StageError(
            "a student by 'layers' needs a transformers model whose config counts its layers "
            f"({_COUNT}). Got {type(module).__name__}; give the student by 'transformers' or "
            "'python'."
        )
    if layers > total:
        raise StageError(f"'layers' must be at most the teacher's {total}. Got {layers}.")
    kept = evenly_spaced(layers, total=total)
    path = _layer_list(module, total=total)
    student = copy.deepcopy(module)
    _keep(student, path=path, kept=kept)
    new_source = _shorter(source, module=module, kept=kept)
    _take_positions(student, source=new_source)
    note = f"student: layers {', '.join(map(str, kept))} of the teacher's {total} (from 0)"
    return Student(student.eval(), new_source, (note,))


def _layer_list(module: nn.Module, *, total: int) -> str:
    """Path of the one outermost list of `total` modules of the same class."""
    found: list[str] = []
    for name, part in module.named_modules():
        alike = isinstance(part, nn.ModuleList) and len({type(layer) for layer in part}) == 1
        nested = any(name.startswith(outer + ".") for outer in found)
        if alike and len(part) == total and any(True for _ in part.parameters()) and not nested:
            found.append(name)
    if len(found) != 1:
        seen = (
            f"{len(found)} ({', '.join(found)})" if found else "none; its layers may share weights"
        )
        raise StageError(
            f"a student by 'layers' needs one list of {total} layers in "
            f"{type(module).__name__}. Found {seen}."
        )
    return found[0]


def _keep(student: nn.Module, *, path: str, kept: tuple[int, ...]) -> None:
    layers = student.get_submodule(path)
    parent, _, name = path.rpartition(".")
    chosen = [layer for place, layer in enumerate(layers.children()) if place in kept]
    setattr(student.get_submodule(parent), name, nn.ModuleList(chosen))
    # A model and its parts mostly share one config object; where they don't, each is told.
    for part in student.modules():
        config = part.__dict__.get("config")
        if isinstance(getattr(config, _COUNT, None), int):
            setattr(config, _COUNT, len(kept))
            types = getattr(config, _TYPES, None)
            if isinstance(types, list) and len(types) > len(kept):
                setattr(config, _TYPES, [types[place] for place in kept])


def _shorter(
    source: TransformersSource, *, module: nn.Module, kept: tuple[int, ...]
) -> TransformersSource:
    """The source with as many layers as were kept, under the name that its config has for it."""
    names: dict[str, str] = getattr(module.config, "attribute_map", {})
    changes: dict[str, Any] = {names.get(_COUNT, _COUNT): len(kept)}
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
