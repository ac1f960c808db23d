"""The recipe's options of a student."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from compress.core.bounds import MOST_LAYERS, MOST_UNITS
from compress.core.options import Options
from compress.distillation.students.layer_choice import Which
from compress.distillation.students.static_spec import StaticSpec
from compress.errors import expected

_UNTRAINED = ("transformers", "python", "self")
_KINDS = ("layers", "width", *_UNTRAINED, "static")

Units = Annotated[int, Field(ge=1, le=MOST_UNITS)]


class Width(Options):
    """Widths of a student, by the names of transformers' configs.

    Attention heads keep the width that they have in the teacher.
    """

    hidden_size: Units | None = None
    """Number of units that every layer reads and writes; null: as in the teacher."""
    intermediate_size: Units | None = None
    """Number of neurons of each feed-forward; null: as in the teacher."""
    num_attention_heads: Units | None = None
    """Number of heads of each attention; null: as many as fit the hidden size, or as in the
    teacher."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.given():
            names = ", ".join(type(self).model_fields)
            raise ValueError(expected("width", f"given by one of {names} or more", {}))
        return self

    def given(self) -> dict[str, int]:
        """Return the widths that are set, by name."""
        return self.model_dump(exclude_none=True)


class StudentSpec(Options):
    """The student: `layers` and `width`, or one of them; or exactly one of the other kinds."""

    layers: (
        Annotated[int, Field(ge=1, le=MOST_LAYERS)]
        | Annotated[list[Annotated[int, Field(ge=0, lt=MOST_LAYERS)]], Field(min_length=1)]
        | None
    ) = None
    """Number of the teacher's layers, or the layers' own numbers (from 0). The student has their
    weights and everything outside of the layers."""
    which: Which = "even"
    """The layers if `layers` is their number: evenly spaced ones, the first or the last."""
    width: Width | None = None
    """Fewer units in all layers. The student keeps the teacher's units with the largest weights."""
    transformers: Annotated[str, Field(min_length=1)] | dict[str, Any] | None = None
    """An untrained transformers model: a folder or hub id with a config, or the keys that differ
    from the teacher's config."""
    python: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """An untrained plain module: "package.module:function"."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the `python` function."""
    self: bool = False
    """The architecture of the model given, untrained (Furlanello et al., "Born-Again Neural
    Networks", ICML 2018). To continue from its weights, give no student."""

    static: StaticSpec | None = None
    """A table of embeddings, one for each token, for tasks whose answer is an embedding."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in _KINDS if getattr(self, kind) not in (None, False)]
        if not given or (len(given) > 1 and given != ["layers", "width"]):
            allowed = f"'layers' and 'width', or one of {', '.join(_KINDS)}"
            raise ValueError(expected("student", f"given by {allowed}", given))
        if self.arguments and self.python is None:
            raise ValueError(expected("arguments", "given with 'python' only", given))
        if self.which != "even" and not isinstance(self.layers, int):
            raise ValueError(expected("which", "given with a number of 'layers' only", given))
        if isinstance(self.layers, list) and self.layers != sorted(set(self.layers)):
            allowed = "a number, or a list of different layer numbers that rises"
            raise ValueError(expected("layers", allowed, self.layers))
        return self

    @property
    def keeps_weights(self) -> bool:
        """True if the student begins with weights of the teacher."""
        return self.layers is not None or self.width is not None

    def summarize(self) -> str:
        """Return a few words for the recipe check."""
        if self.keeps_weights:
            return ", ".join([*self._layers(), *self._width()])
        if self.static is not None:
            return self.static.summarize()
        if self.self:
            return "untrained, same architecture"
        if isinstance(self.transformers, dict):
            changes = ", ".join(f"{key} {value}" for key, value in self.transformers.items())
            return f"untrained, {changes or 'same config'}"
        return f"untrained {self.transformers or self.python}"

    def _layers(self) -> list[str]:
        if self.layers is None:
            return []
        if isinstance(self.layers, list):
            noun = "layer" if len(self.layers) == 1 else "layers"
            return [f"{noun} {', '.join(map(str, self.layers))}"]
        place = "" if self.which == "even" else f"the {self.which} "
        return [place + ("1 layer" if self.layers == 1 else f"{self.layers} layers")]

    def _width(self) -> list[str]:
        given = self.width.given() if self.width else {}
        return [f"{name} {count}" for name, count in given.items()]
