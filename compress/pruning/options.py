"""Options of structured pruning. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

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
"""Criteria that read samples."""
READ_LABELS: frozenset[Criterion] = frozenset({"taylor", "hessian"})
"""Criteria that read the samples' labels."""


class Target(Options):
    """The fraction of exactly one quantity of the model given that remains."""

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
        """The quantity of which a fraction remains."""
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
    """How the loss of quality is measured when each group is cut."""

    ratios: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(0.25, 0.5, 0.75), min_length=1
    )
    """Fractions of a group's units that are removed in turn, the least important units first."""
    samples: int = Field(default=256, ge=1, le=MOST_SAMPLES)
    """Number of samples of the validation split for each measurement."""
    batch_size: int = Field(default=32, ge=1, le=MOST_SAMPLES_AT_ONCE)
    """Number of samples in one forward pass."""


_WRITE = (
    "Write 'target: {{macs: {left}}}' for the fraction of the multiply-accumulates that remains, "
    "or 'ratios: {{\"*\": {gone}}}' for the fraction of each group's units that goes."
)


class CutOptions(Options):
    """The units that are cut, and their number."""

    other_words: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("ratio", "sparsity", "amount"), _WRITE
    )

    target: Target | None = None
    """The fraction of the model given to this stage that remains."""
    tolerance: float | None = Field(default=None, gt=0, lt=1)
    """Largest relative distance at which a target counts as met; what is farther away is refused.
    Null: 0.02 (0.05 of latency), and where a network's units are too coarse for that, the nearest
    smaller model is taken, with a note."""
    ratios: dict[str, Ratio] | Literal["auto"] | None = None
    """Instead of a target: the fraction of units to remove, by pattern of groups' names. The first
    pattern that matches counts. With a target, `auto` cuts where it costs least, as measured by
    `sensitivity`."""
    max_ratio: Ratio | dict[str, Ratio] = 0.95
    """Largest fraction of any group's units that is removed, or such fractions by pattern."""
    units: tuple[Unit, ...] | None = Field(default=None, min_length=1)
    """Kinds of units that are cut; null: feed_forward and heads of described transformers, and all
    that is found in other models."""
    importance: Criterion = "magnitude"
    """The criterion by which units are kept."""
    calibration: Calibration = Calibration()
    """Samples for taylor, hessian and activation."""
    scope: Scope = "global"
    """`global` compares units of a kind over all layers. `isomorphic` compares them over layers of
    the same structure. `layer` cuts the same fraction of each layer."""
    round_to: int | None = Field(default=None, ge=1, le=MOST_UNITS)
    """Each layer keeps a multiple of this number of channels or neurons; null: 8, or less in layers
    of fewer than 32."""
    sensitivity: SensitivityOptions | None = None
    """Measure the loss of quality when each group is cut, for the report and `ratios: auto`."""

    @model_validator(mode="after")
    def _one_measure(self) -> CutOptions:
        if self.ratios == "auto" and self.target is None:
            raise ValueError("'ratios: auto' spends a target. Give 'target' too.")
        if (self.target is None) == (not isinstance(self.ratios, dict)):
            raise ValueError("exactly one of 'target' and a mapping in 'ratios' must be given.")
        if self.tolerance is not None and self.target is None:
            raise ValueError("'tolerance' is of a target. Give 'target' too.")
        if isinstance(self.ratios, dict) and not any(self.ratios.values()):
            raise ValueError(expected("ratios", "a mapping with a ratio above 0", self.ratios))
        return self

    @property
    def measures_sensitivity(self) -> SensitivityOptions | None:
        """The options of measuring sensitivity, or None if it isn't measured."""
        if self.ratios == "auto":
            return self.sensitivity or SensitivityOptions()
        return self.sensitivity
