"""A limit on one figure: the recipe's keys of a gate."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from compress.core.options import Options
from compress.recipe.gates.figures import Figure, figure

_FARTHEST = 1e18
"""More than any figure."""
Then = Literal["stop", "roll_back", "warn"]


def _known(name: str) -> str:
    figure(name)
    return name


class Limit(Options):
    """A limit on one figure, of one stage's model or of the last one."""

    figure: Annotated[str, AfterValidator(_known)]
    """Name of the figure as in report.json, such as quality.value, latency_ms.1.p95 or size_bytes.
    `quality`, `vs_reference`, `latency_ms.1` and `speedup.1` are short for the figures that one
    would expect."""
    at_least: float | None = Field(default=None, ge=-_FARTHEST, le=_FARTHEST)
    """The smallest allowed value."""
    at_most: float | None = Field(default=None, ge=-_FARTHEST, le=_FARTHEST)
    """The largest allowed value."""
    stage: str | None = None
    """Name of the stage whose row is judged, as soon as it is measured; null: the last row."""
    then: Then = "stop"
    """What follows if it fails. `stop`: no further stage runs, and the command ends with exit code
    1. `roll_back`: the run goes on from the model before the stage. `warn`: the report says so."""
    confident: bool = False
    """Judge the end of the 95 % interval that is nearer to the limit and beyond the value: the
    lower end for `at_least`, the upper one for `at_most`."""

    @model_validator(mode="after")
    def _keys_agree(self) -> Self:
        given = [key for key in ("at_least", "at_most") if getattr(self, key) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ValueError(f"exactly one of at_least, at_most must be given. Got {got}.")
        if self.confident and self.of.interval is None:
            raise ValueError(
                f"'confident' needs a figure with an interval. {self.of.name!r} has none."
            )
        if self.then == "roll_back" and self.stage is None:
            raise ValueError("'then: roll_back' needs a 'stage', whose model is left aside.")
        return self

    @property
    def of(self) -> Figure:
        """The figure."""
        return figure(self.figure)

    @property
    def bound(self) -> Literal["at_least", "at_most"]:
        """The key of the limit that is given."""
        return "at_most" if self.at_least is None else "at_least"

    @property
    def value(self) -> float:
        """The limit that is given."""
        found = self.at_most if self.at_least is None else self.at_least
        if found is None:
            raise TypeError("a gate has neither 'at_least' nor 'at_most'.")
        return found

    def words(self) -> str:
        """Return the limit as part of a sentence, such as "quality.value of prune >= 0.85"."""
        sign = ">=" if self.bound == "at_least" else "<="
        sure = " with 95 % confidence" if self.confident else ""
        of = f" of {self.stage}" if self.stage else ""
        then = "" if self.then == "stop" else f" (else {self.then.replace('_', ' ')})"
        return f"{self.of.name}{of} {sign} {self.value:g}{sure}{then}"
