"""Options of low-rank factorization. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from compress.core.options import Options
from compress.data.calibration import Calibration

Method = Literal["activation", "svd"]
Quantity = Literal["macs", "params"]


def exactly_one(options: Options, names: tuple[str, ...]) -> str:
    """Return the one of these fields that isn't null.

    Raises
    ------
    ValueError : none or several aren't null.
    """
    given = [name for name in names if getattr(options, name) is not None]
    if len(given) != 1:
        raise ValueError(
            f"exactly one of {', '.join(names)} must be given. Got {' and '.join(given) or 'none'}."
        )
    return given[0]


class LowRankTarget(Options):
    """The fraction of the given model that remains, in exactly one quantity."""

    macs: float | None = Field(default=None, gt=0, lt=1)
    """The fraction of multiply-accumulates of one sample that remains, attention's matmuls
    included."""
    params: float | None = Field(default=None, gt=0, lt=1)
    """The fraction of parameters that remains. All parameters count, embeddings included."""

    @model_validator(mode="after")
    def _one_target(self) -> LowRankTarget:
        exactly_one(self, ("macs", "params"))
        return self

    @property
    def quantity(self) -> Quantity:
        """The quantity of the target."""
        return "params" if self.macs is None else "macs"

    @property
    def fraction(self) -> float:
        """The fraction that remains, in (0, 1)."""
        return float(getattr(self, self.quantity))


class LowRankOptions(Options):
    """The layers to factorize, and the size of their factors."""

    target: LowRankTarget | None = None
    """The fraction of the whole model that remains. Layers whose spectra fall fastest are reduced
    most. Give this, `ratio` or `energy`."""
    ratio: float | None = Field(default=None, gt=0, lt=1)
    """The fraction of each layer's weights that is removed, rounded up to a possible rank."""
    energy: float | None = Field(default=None, gt=0, le=1)
    """The fraction of each layer's squared singular values that is kept, rounded up to a possible
    rank. A layer that wouldn't get smaller stays whole."""
    method: Method = "activation"
    """`activation` minimises the error of each layer's outputs on calibration samples. `svd`
    minimises the error of its weights, and reads no data."""
    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Patterns (*, ?) of paths of the layers to factorize; null for all but the output layer."""
    exclude: tuple[str, ...] = ()
    """Patterns (*, ?) of paths of layers that stay whole."""
    calibration: Calibration = Calibration()
    """Calibration samples of method `activation`."""

    @model_validator(mode="after")
    def _one_measure(self) -> LowRankOptions:
        exactly_one(self, ("target", "ratio", "energy"))
        return self
