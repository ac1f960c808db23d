"""Options of the `quantize` stage. No torch and no onnx here."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from compress.core.options import Options
from compress.distillation.recovery import Recovery
from compress.errors import unknown
from compress.measurement.cpu import TargetCpu
from compress.quantization.options import Calibration, Trials
from compress.quantization.selection import DYNAMIC, STATIC_KNOWN

Improvement = Literal["smooth", "equalize", "bias_correction", "rounding", "float_return"]


class QuantizeOptions(Options):
    """How an INT8 model is made, chosen and improved."""

    method: Literal["auto", "dynamic", "fixed", "static", "weights"] = "auto"
    """Dynamic scales activations as they come, static by calibration; fixed is dynamic's products
    with calibrated scales; weights leaves activations in float. Auto builds what can be fast,
    measures each, and keeps the fastest within `budget`."""
    graph: Literal["auto", "plain", "lean", "attention"] = "auto"
    """The float graph that is quantized: as exported; without work that isn't read, and kept from
    fusions that are slower; or with attention as one operator. Auto is the fastest, as measured,
    for method auto, and plain for the others."""
    calibration: Calibration = Calibration()
    """How static quantization finds the ranges of activations; dynamic needs none."""
    budget: float = Field(default=0.005, ge=0, lt=1)
    """The most quality that method auto may lose on validation samples: an absolute difference of
    the metric, of perplexity a relative one."""
    trials: Trials = Trials()
    """How candidates are measured."""
    improve: tuple[Improvement, ...] | None = None
    """What is done for accuracy, in this order. Null: with method auto whatever helps a fast
    candidate that loses too much, with the other methods nothing."""
    recovery: Recovery | None = None
    """Train with the INT8 file's own rounding, with the reference as teacher (static only)."""
    per_channel: bool = True
    """A scale for each output channel of a weight, rather than one for the whole weight."""
    bits: Literal[4, 8] = 8
    """Of weights, with method weights."""
    block_size: Literal[16, 32, 64, 128, 256] = 32
    """Weights that share a scale, with method weights."""
    target_cpu: TargetCpu | None = None
    """The kind of CPU that the file is for; null: this one."""
    operators: tuple[str, ...] | None = None
    """ONNX operator types to quantize; null takes those that are faster and lose little."""
    exclude: tuple[str, ...] = ()
    """Patterns (*, ?) of weights' or nodes' names that stay in float, such as "classifier.*"."""

    @field_validator("operators")
    @classmethod
    def _known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        known = {*DYNAMIC, *STATIC_KNOWN}
        for name in value or ():
            if name not in known:
                raise ValueError(unknown("operator", name, known))
        return value

    @model_validator(mode="after")
    def _static_alone_trains(self) -> Self:
        if self.recovery is not None and self.method not in ("auto", "static"):
            raise ValueError(
                "'recovery' trains with the rounding of static quantization. "
                f"Got method {self.method!r}; it must be static or auto."
            )
        return self
