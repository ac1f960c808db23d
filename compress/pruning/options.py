"""What may be asked of pruning. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from compress.core.stage import Options

Unit = Literal["feed_forward", "heads"]
Scope = Literal["global", "layer"]


class Target(Options):
    """The fraction of the model given that remains: exactly one of `macs` and `params`."""

    macs: float | None = Field(default=None, gt=0, lt=1)
    """Multiply-accumulates of one sample that remain, attention's matrix products included."""
    params: float | None = Field(default=None, gt=0, lt=1)
    """Parameters that remain; all parameters of the model count, embeddings included."""

    @model_validator(mode="after")
    def _one_target(self) -> Target:
        if (self.macs is None) == (self.params is None):
            raise ValueError("exactly one of 'macs' and 'params' must be given.")
        return self

    @property
    def quantity(self) -> Literal["macs", "params"]:
        """What the target counts."""
        return "params" if self.macs is None else "macs"

    @property
    def fraction(self) -> float:
        """The fraction that remains, in (0, 1)."""
        return (self.params if self.macs is None else self.macs) or 0.0
