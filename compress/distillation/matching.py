"""Matches the layers of a student with the layers of its teacher."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from compress.distillation.options import Layer, Layers
from compress.errors import StageError, expected, unknown
from compress.models.structure.layers import layer_paths


class Match(NamedTuple):
    """A pair of modules by path, with the pair's factor."""

    student: str
    teacher: str
    weight: float = 1.0


def match(layers: Layers, *, student: nn.Module, teacher: nn.Module) -> tuple[Match, ...]:
    """Return the pairs that a recipe's `layers` gives for these two models.

    The models' present layers count, so a student with removed or narrower layers is matched by
    the layers that it still has. `uniform` pairs layer i of n (from 0) with the teacher's layer
    (i + 1) * N // n - 1 of N, the "uniform" mapping of TinyBERT (Jiao et al., 2020).

    Raises
    ------
    StageError : a model's layers can't be numbered, or a layer or module doesn't exist.
    """
    if isinstance(layers, str):
        ours, theirs = layer_paths(student), layer_paths(teacher)
        if layers == "last":
            return (Match(ours[-1], theirs[-1]),)
        if len(ours) > len(theirs):
            raise StageError(
                expected("layers", f"pairs: the teacher has only {len(theirs)} layers", layers)
                + f" The student has {len(ours)}."
            )
        return tuple(
            Match(path, theirs[(index + 1) * len(theirs) // len(ours) - 1])
            for index, path in enumerate(ours)
        )
    return tuple(
        Match(
            _path(pair.student, module=student, whose="student"),
            _path(pair.teacher, module=teacher, whose="teacher"),
            pair.weight,
        )
        for pair in layers
    )


def _path(layer: Layer, *, module: nn.Module, whose: str) -> str:
    if isinstance(layer, int):
        paths = layer_paths(module)
        if layer >= len(paths):
            raise StageError(
                f"the {whose}'s layers are numbered from 0 to {len(paths) - 1}. Got {layer}."
            )
        return paths[layer]
    names = [name for name, _ in module.named_modules() if name]
    if layer not in names:
        raise StageError(unknown(f"module of the {whose}", layer, names))
    return layer
