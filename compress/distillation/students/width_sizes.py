"""How wide a narrower model is, from its teacher's config alone. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compress.distillation.students.spec import Width
from compress.errors import StageError, expected
from compress.models.folder.header import Shapes
from compress.models.structure.transformers.axes import Axis, Described
from compress.models.structure.transformers.families import DECODERS, FAMILIES

_ALIASES = {
    "hidden_size": ("hidden_size", "dim"),
    "intermediate_size": ("intermediate_size", "hidden_dim"),
    "num_attention_heads": ("num_attention_heads", "n_heads"),
}
_FOLLOWING = ("embedding_size", "pooler_output_size")
"""Keys that name the hidden size again, where they are equal to it."""


@dataclass(frozen=True)
class Sizes:
    """Of a model all of whose layers are alike.

    Attributes
    ----------
    hidden, neurons : units.
    heads, key_value_heads : attention heads; of queries, and of keys and values.
    head_size : units of one head.
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
            "head_count": self.heads,
            "neurons": self.neurons,
        }[axis]


def sizes_of(config: Mapping[str, Any]) -> Sizes:
    """What a config of a described family says.

    Raises
    ------
    StageError : the family isn't described, or the config leaves a size out.
    """
    kind = config.get("model_type")
    known = FAMILIES | DECODERS
    if kind not in known:
        raise StageError(
            f"'width' needs a model of a family whose layout is known: {', '.join(sorted(known))}. "
            f"Got model_type {kind!r}; use 'layers', 'transformers' or 'python'."
        )
    found = {name: _value(config, name) for name in _ALIASES}
    heads = found["num_attention_heads"]
    key_values = config.get("num_key_value_heads") if kind in DECODERS else None
    return Sizes(
        hidden=found["hidden_size"],
        neurons=found["intermediate_size"],
        heads=heads,
        key_value_heads=key_values or heads,
        head_size=config.get("head_dim") or found["hidden_size"] // heads,
    )


def says_sizes(config: Mapping[str, Any]) -> bool:
    """Whether a config names all that `narrowed` reads; one that is stored may leave out some."""
    return all(isinstance(config.get(_key(config, name)), int) for name in _ALIASES)


def narrowed(config: Mapping[str, Any], width: Width) -> tuple[Sizes, dict[str, Any]]:
    """The sizes that `width` asks for, and what changes in the config.

    Raises
    ------
    StageError : they are larger than the teacher's, or heads can't keep their width.
    """
    old = sizes_of(config)
    given = width.given()
    largest = (old.hidden, old.neurons, old.heads)
    for name, most in zip(Width.model_fields, largest, strict=True):
        if given.get(name, 0) > most:
            raise StageError(
                expected(f"width.{name}", f"at most the teacher's {most}", given[name])
            )
    hidden = given.get("hidden_size", old.hidden)
    free = config.get("model_type") in DECODERS  # their heads' width is a key of its own
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
    new = Sizes(hidden, neurons, heads, heads // queries, old.head_size)
    changes: dict[str, Any] = {
        _key(config, "hidden_size"): hidden,
        _key(config, "intermediate_size"): neurons,
        _key(config, "num_attention_heads"): heads,
    }
    changes |= {key: hidden for key in _FOLLOWING if config.get(key) == old.hidden}
    if free:
        changes |= {"num_key_value_heads": new.key_value_heads, "head_dim": new.head_size}
    return new, changes


def narrowed_shapes(shapes: Shapes, *, config: Mapping[str, Any], width: Width) -> Shapes:
    """The parameters of the narrower model.

    Raises
    ------
    StageError : see `narrowed`, or parameters that the family isn't known to have.
    """
    sizes, _ = narrowed(config, width)
    axes = described(shapes, config=config).axes
    return {
        name: tuple(
            length if axis is None else min(length, sizes.along(axis))
            for length, axis in zip(shape, axes[name] or (), strict=True)
        )
        for name, shape in shapes.items()
    }


def described(shapes: Shapes, *, config: Mapping[str, Any]) -> Described:
    """The axes of all parameters.

    Raises
    ------
    StageError : the family isn't known to have some of them, or to have them so.
    """
    found = Described(shapes, config=config)
    strange = [
        name for name, axes in found.axes.items() if axes is None or len(axes) != len(shapes[name])
    ]
    if strange:
        raise StageError(
            f"'width' can't be cut: models of type {config.get('model_type')!r} aren't known to "
            f"have {', '.join(strange[:3])}{' …' if len(strange) > 3 else ''}."
        )
    return found


def _key(config: Mapping[str, Any], name: str) -> str:
    return next((key for key in _ALIASES[name] if key in config), name)


def _value(config: Mapping[str, Any], name: str) -> int:
    value = config.get(_key(config, name))
    if not isinstance(value, int):
        raise StageError(f"the model's config must say its {name}. It doesn't.")
    return value
