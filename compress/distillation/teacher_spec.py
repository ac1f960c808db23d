"""Options of a teacher."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from compress.core.bounds import MOST_UNITS
from compress.core.options import Options
from compress.errors import expected

TeacherName = Literal["reference", "baseline"]


class CacheSpec(Options):
    """A cache of the teacher's answers: computed once, kept on disk for all epochs and stages."""

    top_k: int | None = Field(default=None, ge=1, le=MOST_UNITS)
    """Keep only so many of the largest logits of each sample or token, with the mass of all others;
    null keeps all."""
    dtype: Literal["fp16", "fp32"] = "fp32"
    """Type of the stored numbers. fp16 halves the bytes, with an error of up to 0.05 % of each
    number."""

    def summarize(self) -> str:
        """Return a few words for the recipe check."""
        return f"{f'top {self.top_k}, ' if self.top_k else ''}{self.dtype}"


class TeacherSpec(Options):
    """Who teaches, and how the reference model is stored and run. A list gives `models` alone."""

    models: Annotated[tuple[TeacherName, ...], Field(min_length=1)] = ("reference",)
    """The teachers, whose probabilities are averaged: the `reference` model, and the `baseline`,
    the linear rival of classifiers. The rival answers each sample of train without having been
    trained on it."""
    bits: Literal[4, 8] | None = None
    """Bits of the linear layers, through bitsandbytes, to save memory; null for full precision."""
    cache: CacheSpec | None = None
    """Cache its answers on disk; null computes the answers to every batch."""

    @model_validator(mode="before")
    @classmethod
    def _models_alone(cls, given: Any) -> Any:
        return {"models": given} if isinstance(given, list | tuple) else given

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.models)) < len(self.models):
            raise ValueError(expected("models", "each given once", list(self.models)))
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema of the keys, or of the list of teachers that stands for them."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        models = schema["properties"]["models"]
        return {"anyOf": [dict(schema), {name: models[name] for name in ("type", "items")}]}

    @property
    def asks_reference(self) -> bool:
        """Whether the reference model is a teacher."""
        return "reference" in self.models

    @property
    def asks_baseline(self) -> bool:
        """Whether the linear rival is a teacher."""
        return "baseline" in self.models

    def summarize(self) -> str:
        """Return a few words for the recipe check; empty for the defaults."""
        models = [" and ".join(self.models)] if self.asks_baseline else []
        bits = [] if self.bits is None else [f"in {self.bits} bits"]
        cache = [] if self.cache is None else [f"cached ({self.cache.summarize()})"]
        return ", ".join([*models, *bits, *cache])
