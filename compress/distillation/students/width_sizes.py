"""The sizes of a narrower model, from its teacher's config alone. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compress.distillation.students.spec import Width
from compress.errors import StageError, expected
from compress.models.folder.header import Shapes
from compress.models.structure.transformers.axes import known_axes
from compress.models.structure.transformers.families import LAYOUTS
from compress.models.structure.transformers.layout import Axis, SizeKeys


@dataclass(frozen=True)
class StudentSizes:
    """Sizes of a model all of whose layers are alike.

    Attributes
    ----------
    hidden, neurons : numbers of hidden units, and of neurons of a feed-forward.
    heads, key_value_heads : numbers of heads of queries, and of keys and values.
    head_size : number of units of one head.
    """

    hidden: int
    neurons: int
    heads: int
    key_value_heads: int
    head_size: int

    def along(self, axis: Axis) -> int:
        """Length of a dimension along an axis."""
        return {
            "hidden": self.hidden,
            "pooled": self.hidden,
            "heads": self.heads * self.head_size,
            "key_values": self.key_value_heads * self.head_size,
            "fused": 3 * self.heads * self.head_size,
            "head_count": self.heads,
            "neurons": self.neurons,
            "gated": 2 * self.neurons,
        }[axis]


def size_keys(config: Mapping[str, Any]) -> SizeKeys | None:
    """The config's keys of sizes; None if its family isn't described, or its layers differ."""
    layout = LAYOUTS.get(str(config.get("model_type")))
    return None if layout is None else layout.sizes


def sizes_of(config: Mapping[str, Any]) -> StudentSizes:
    """The sizes in a config of a described family.

    Raises
    ------
    StageError : the family isn't described, its layers differ, or the config leaves a size out.
    """
    keys = _keys(config)
    heads, hidden = _value(config, keys.heads), _value(config, keys.hidden)
    key_values = keys.key_values and config.get(keys.key_values)
    head_size = keys.head_size and config.get(keys.head_size)
    neurons = config.get(keys.neurons)
    if neurons is None and keys.neurons_by_hidden is not None:
        neurons = keys.neurons_by_hidden * hidden
    return StudentSizes(
        hidden=hidden,
        neurons=neurons if isinstance(neurons, int) else _value(config, keys.neurons),
        heads=heads,
        key_value_heads=key_values or heads,
        head_size=head_size or hidden // heads,
    )


def says_sizes(config: Mapping[str, Any]) -> bool:
    """Return whether a config has all sizes; a stored one may leave some out."""
    try:
        sizes_of(config)
    except StageError:
        return False
    return True


def narrowed(config: Mapping[str, Any], width: Width) -> tuple[StudentSizes, dict[str, Any]]:
    """The sizes that `width` asks for, and the changes to the config.

    Raises
    ------
    StageError : they are larger than the teacher's, or heads can't keep their width.
    """
    keys, old = _keys(config), sizes_of(config)
    given = width.given()
    largest = (old.hidden, old.neurons, old.heads)
    for name, most in zip(Width.model_fields, largest, strict=True):
        if given.get(name, 0) > most:
            raise StageError(
                expected(f"width.{name}", f"at most the teacher's {most}", given[name])
            )
    hidden = given.get("hidden_size", old.hidden)
    free = keys.head_size is not None
    heads = given.get("num_attention_heads", old.heads if free else hidden // old.head_size)
    if not free and heads * old.head_size != hidden:
        raise StageError(
            f"each head keeps its {old.head_size} units, so 'width.hidden_size' must be "
            f"{old.head_size} times 'width.num_attention_heads'. Got {hidden} and {heads}."
        )
    queries = old.heads // old.key_value_heads
    if heads % queries:
        allowed = f"a multiple of {queries}, since so many share keys and values"
        raise StageError(expected("width.num_attention_heads", allowed, heads))
    neurons = given.get("intermediate_size", old.neurons)
    new = StudentSizes(hidden, neurons, heads, heads // queries, old.head_size)
    changes: dict[str, Any] = {key: hidden for key in keys.again if config.get(key) == old.hidden}
    changes |= {keys.hidden: hidden, keys.neurons: neurons, keys.heads: heads}
    if keys.key_values is not None:
        changes[keys.key_values] = new.key_value_heads
    if keys.head_size is not None:
        changes[keys.head_size] = new.head_size
    return new, changes


def narrowed_shapes(shapes: Shapes, *, config: Mapping[str, Any], width: Width) -> Shapes:
    """The shapes of the narrower model's parameters.

    Raises
    ------
    StageError : see `narrowed`; or the family's description doesn't name some parameters.
    """
    sizes, _ = narrowed(config, width)
    known = known_axes({name: len(shape) for name, shape in shapes.items()}, config=config)
    return {
        name: tuple(
            length if axis is None else min(length, sizes.along(axis))
            for length, axis in zip(shapes[name], axes, strict=True)
        )
        for name, axes in known.items()
    }


def _keys(config: Mapping[str, Any]) -> SizeKeys:
    keys = size_keys(config)
    if keys is None:
        able = ", ".join(sorted(kind for kind, layout in LAYOUTS.items() if layout.sizes))
        raise StageError(
            f"'width' needs a model of a described family whose layers are all alike: {able}. "
            f"Got model_type {config.get('model_type')!r}; use 'layers', 'transformers' or "
            "'python'."
        )
    return keys


def _value(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int):
        raise StageError(f"the model's config must say its {key}. It doesn't.")
    return value
