"""What may be asked of low-rank factorisation. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from compress.core.options import Options
from compress.data.calibration import Calibration

Method = Literal["activation", "svd"]
Quantity = Literal["macs", "params"]


def exactly_one(options: Options, names: tuple[str, ...]) -> str:
    """The one of these fields that isn't null.

    Raises
    ------
    ValueError : there are none, or several.
    """
    given = [name for name in names if getattr(options, name) is not None]
    if len(given) != 1:
        raise ValueError(
            f"exactly one of {', '.join(names)} must be given. Got {' and '.join(given) or 'none'}."
        )
    return given[0]


class LowRankTarget(Options):
    """The fraction of the model given that remains, of exactly one quantity."""

    macs: float | None = Field(default=None, gt=0, lt=1)
    """Multiply-accumulates of one sample that remain, attention's matrix products included."""
    params: float | None = Field(default=None, gt=0, lt=1)
    """Parameters that remain; all parameters of the model count, embeddings included."""

    @model_validator(mode="after")
    def _one_target(self) -> LowRankTarget:
        exactly_one(self, ("macs", "params"))
        return self

    @property
    def quantity(self) -> Quantity:
        """What the target counts."""
        return "params" if self.macs is None else "macs"

    @property
    def fraction(self) -> float:
        """The fraction that remains, in (0, 1)."""
        return float(getattr(self, self.quantity))


class LowRankOptions(Options):
    """Which layers are split, and into how much."""

    target: LowRankTarget | None = None
    """The fraction of the whole model that remains; the layers whose spectra fall fastest give
    most. Or give `ratio` or `energy`."""
    ratio: float | None = Field(default=None, gt=0, lt=1)
    """The fraction of each layer's weights that is removed, or a little more."""
    energy: float | None = Field(default=None, gt=0, le=1)
    """The fraction of each layer's squared singular values that is kept, or a little more; layers
    that would not get smaller stay whole."""
    method: Method = "activation"
    """`activation` keeps what matters to each layer's outputs on calibration samples, `svd` what
    matters to its weights; the latter reads no data."""
    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Patterns (*, ?) of paths of layers to split; null: all but the one that makes the output."""
    exclude: tuple[str, ...] = ()
    """Patterns (*, ?) of paths of layers that stay whole."""
    calibration: Calibration = Calibration()
    """Data of `activation`."""

    @model_validator(mode="after")
    def _one_measure(self) -> LowRankOptions:
        exactly_one(self, ("target", "ratio", "energy"))
        return self
