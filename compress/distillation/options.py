"""What a recipe says about a student, and how it learns."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from compress.core.stage import Options
from compress.errors import expected

_KINDS = ("layers", "transformers", "python")


class StudentSpec(Options):
    """The student: exactly one of `layers`, `transformers` and `python`."""

    layers: Annotated[int, Field(ge=1)] | None = None
    """So many of the teacher's layers, evenly spaced, with their weights and all else it has."""
    transformers: Annotated[str, Field(min_length=1)] | dict[str, Any] | None = None
    """An untrained transformers model: a folder or hub id with a config, or the keys that differ
    from the teacher's config."""
    python: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """An untrained plain module: "package.module:function"."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the `python` function."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                expected("student", f"given by exactly one of {', '.join(_KINDS)}", given)
            )
        if self.arguments and self.python is None:
            raise ValueError(expected("arguments", "given with 'python' only", given))
        return self

    def summarize(self) -> str:
        """A few words for the recipe check."""
        if self.layers is not None:
            return "1 layer" if self.layers == 1 else f"{self.layers} layers"
        if isinstance(self.transformers, dict):
            changes = ", ".join(f"{key} {value}" for key, value in self.transformers.items())
            return f"untrained, {changes or 'same config'}"
        return f"untrained {self.transformers or self.python}"


class Response(Options):
    """Learning from the teacher's softened answers (Hinton et al., 2015)."""

    temperature: float = Field(default=4.0, gt=0, le=100)
    """Divides both models' logits; higher tells more about the wrong classes."""
    weight: float = Field(default=0.7, ge=0, allow_inf_nan=False)
    """Factor of this part in the loss; the part already holds temperature squared."""


class Labels(Options):
    """Learning from the data's labels."""

    weight: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    """Factor of the cross-entropy in the loss."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Part of each label's probability that is spread over all classes."""


class Losses(Options):
    """The weighted sum that a student minimises."""

    response: Response | None = Response()
    """From the teacher; null for none."""
    labels: Labels | None = Labels()
    """From the labels; null for none."""

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if not any(part is not None and part.weight > 0 for part in (self.response, self.labels)):
            raise ValueError(expected("losses", "a sum with one weight above 0 or more", 0))
        return self

    def summarize(self) -> str:
        """A few words for the recipe check."""
        parts = []
        if self.response is not None:
            parts.append(f"{self.response.weight:g} response (T {self.response.temperature:g})")
        if self.labels is not None:
            parts.append(f"{self.labels.weight:g} labels")
        return " + ".join(parts)
