"""What may be asked of pruning. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from compress.core.bounds import MOST_SAMPLES, MOST_SAMPLES_AT_ONCE, MOST_UNITS
from compress.core.options import Options
from compress.data.calibration import Calibration
from compress.errors import expected
from compress.models.structure.unit import Unit

Scope = Literal["global", "isomorphic", "layer"]
Criterion = Literal[
    "magnitude", "batch_norm", "lamp", "fpgm", "random", "taylor", "hessian", "activation"
]
Quantity = Literal["macs", "params", "size", "latency"]
Ratio = Annotated[float, Field(ge=0, lt=1)]
"""A fraction that is removed."""
READ_DATA: frozenset[Criterion] = frozenset({"taylor", "hessian", "activation"})
"""Criteria that look at samples."""
READ_LABELS: frozenset[Criterion] = frozenset({"taylor", "hessian"})
"""Those that look at their labels."""


class Target(Options):
    """The fraction of the model given that remains, of exactly one quantity."""

    macs: float | None = Field(default=None, gt=0, lt=1)
    """Multiply-accumulates of one sample that remain, attention's matmuls included."""
    params: float | None = Field(default=None, gt=0, lt=1)
    """Parameters that remain; all parameters of the model count, embeddings included."""
    size: float | None = Field(default=None, gt=0, lt=1)
    """Bytes of the ONNX file that remain, in fp32."""
    latency: float | None = Field(default=None, gt=0, lt=1)
    """Measured latency in ONNX Runtime on this machine that remains."""

    @model_validator(mode="after")
    def _one_target(self) -> Target:
        given = self._given()
        if len(given) != 1:
            raise ValueError(
                f"exactly one of {', '.join(type(self).model_fields)} must be given. "
                f"Got {' and '.join(given) or 'none'}."
            )
        return self

    @property
    def quantity(self) -> Quantity:
        """What the target counts."""
        return next(iter(self._given()))

    @property
    def fraction(self) -> float:
        """The fraction that remains, in (0, 1)."""
        return next(iter(self._given().values()))

    def _given(self) -> dict[Quantity, float]:
        every: dict[Quantity, float | None] = {
            "macs": self.macs,
            "params": self.params,
            "size": self.size,
            "latency": self.latency,
        }
        return {name: value for name, value in every.items() if value is not None}


class SensitivityOptions(Options):
    """How it is measured what each group costs when it is cut."""

    ratios: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(0.25, 0.5, 0.75), min_length=1
    )
    """The fractions of a group's units that are taken away in turn, the least important first."""
    samples: int = Field(default=256, ge=1, le=MOST_SAMPLES)
    """Samples of the validation split that the model answers each time."""
    batch_size: int = Field(default=32, ge=1, le=MOST_SAMPLES_AT_ONCE)
    """How many at once."""


class CutOptions(Options):
    """What is cut, and how much of it."""

    target: Target | None = None
    """The fraction of the model given to this stage that remains."""
    ratios: dict[str, Ratio] | Literal["auto"] | None = None
    """Instead of a target: the fraction of units that is removed from the groups whose name
    matches a pattern, the first that does. With a target, `auto` spends it where it costs least,
    as `sensitivity` measures."""
    max_ratio: Ratio | dict[str, Ratio] = 0.95
    """At most this fraction of any group's units is removed; or by pattern."""
    units: tuple[Unit, ...] | None = Field(default=None, min_length=1)
    """What is cut; null: feed_forward and heads of transformers, channels of all else."""
    importance: Criterion = "magnitude"
    """What makes a unit worth keeping."""
    calibration: Calibration = Calibration()
    """Samples for taylor, hessian and activation."""
    scope: Scope = "global"
    """`global` compares units of a kind over all layers, `isomorphic` over layers of the same
    shape; `layer` cuts the same fraction of each."""
    round_to: int | None = Field(default=None, ge=1, le=MOST_UNITS)
    """Each layer keeps a multiple of this many channels or neurons; null: 8, and less in layers of
    fewer than 32."""
    sensitivity: SensitivityOptions | None = None
    """Measure what each group costs when it is cut, for the report and for `ratios: auto`."""

    @model_validator(mode="after")
    def _one_measure(self) -> CutOptions:
        if self.ratios == "auto" and self.target is None:
            raise ValueError("'ratios: auto' spends a target. Give 'target' too.")
        if (self.target is None) == (not isinstance(self.ratios, dict)):
            raise ValueError("exactly one of 'target' and a mapping in 'ratios' must be given.")
        if isinstance(self.ratios, dict) and not any(self.ratios.values()):
            raise ValueError(expected("ratios", "a mapping with a ratio above 0", self.ratios))
        return self

    @property
    def measures_sensitivity(self) -> SensitivityOptions | None:
        """How, where it is measured at all."""
        if self.ratios == "auto":
            return self.sensitivity or SensitivityOptions()
        return self.sensitivity
