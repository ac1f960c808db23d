"""Options of sparsity. No torch here."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from compress.core.options import Options
from compress.errors import expected

SparsityScope = Literal["global", "layer"]
_LARGEST = 64


class Pattern(NamedTuple):
    """An N:M pattern: at most `keep` of every `group` weights aren't zero."""

    keep: int
    group: int

    @classmethod
    def of(cls, text: str) -> Pattern:
        """The pattern of a text such as "2:4".

        Raises
        ------
        ValueError : the text isn't such a pattern.
        """
        found = re.fullmatch(r"(\d+):(\d+)", text)
        keep, group = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= keep < group <= _LARGEST:
            allowed = f'"N:M" with 1 <= N < M <= {_LARGEST}, such as "2:4"'
            raise ValueError(expected("pattern", allowed, text))
        return cls(keep, group)


class SparsityOptions(Options):
    """The fraction or pattern of weights that become zero, and the layers that stay dense."""

    ratio: float | None = Field(default=None, gt=0, lt=1)
    """The fraction of the weights of linear layers and convolutions that becomes zero, the smallest
    first; or give `pattern`."""
    pattern: str | None = None
    """"N:M": of every M weights along a layer's inputs the N largest stay, such as "2:4"."""
    scope: SparsityScope = "layer"
    """The scope of `ratio`: `layer` removes the same fraction of each layer. `global` compares the
    weights of all layers; some layers may then lose nearly all of them."""
    exclude: tuple[str, ...] = ()
    """Patterns (*, ?) of paths of layers that stay dense."""

    @field_validator("pattern")
    @classmethod
    def _two_numbers(cls, value: str | None) -> str | None:
        if value is not None:
            Pattern.of(value)
        return value

    @model_validator(mode="after")
    def _one_measure(self) -> SparsityOptions:
        given = [name for name in ("ratio", "pattern") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"exactly one of ratio, pattern must be given. Got {' and '.join(given) or 'none'}."
            )
        return self
