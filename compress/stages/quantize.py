"""Turns the model into an INT8 ONNX file that is as fast as can be and still good enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from compress.core.artifact import Format
from compress.core.stage import Options, Stage
from compress.distillation.recovery import Recovery
from compress.errors import unknown
from compress.measurement.cpu import TargetCpu
from compress.quantization.options import Calibration, Trials
from compress.quantization.selection import DYNAMIC, STATIC_KNOWN

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context

Improvement = Literal["smooth", "equalize", "bias_correction", "rounding", "float_return"]


class Quantize(Stage):
    """Quantize to INT8, run by ONNX Runtime."""

    accepts: ClassVar[Mapping[Format, Format]] = {
        Format.TORCH: Format.ONNX_INT8,
        Format.ONNX: Format.ONNX_INT8,
    }

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
    def _static_alone_trains(self) -> Quantize:
        if self.recovery is not None and self.method not in ("auto", "static"):
            raise ValueError(
                "'recovery' trains with the rounding of static quantization. "
                f"Got method {self.method!r}; it must be static or auto."
            )
        return self

    def check(self, *, task: str, model: Options, data: Options) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        if self.recovery is None:
            return []
        return self.recovery.problems(task=task, data=data, key="recovery")

    def foresee(self, *, task: str, model: Options, data: Options) -> list[str]:
        """See `Stage.foresee`."""
        unused = self.method in ("dynamic", "weights") and self.calibration != Calibration()
        return [f"'calibration' isn't used by method {self.method}"] if unused else []

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """The artifact as an INT8 ONNX file; a torch module is lowered first, and checked.

        Raises
        ------
        ParityError : the float ONNX file of a torch module answers otherwise.
        TargetError : method auto finds nothing within the budget.
        StageError : nothing can be quantized, not with this method, or INT8 is slower and larger
            than float.
        """
        from compress.stages.quantize_work import Work

        path, notes = Work(self, artifact, context).do()
        return artifact.with_onnx(path, format=Format.ONNX_INT8, notes=notes)

    def summarize(self) -> str:
        """Such as "static, minmax on 128 samples, per channel"."""
        words = [f"{self.bits}-bit weights" if self.method == "weights" else self.method]
        if self.method in ("static", "fixed", "auto"):
            method = self.calibration.method or "best calibration"
            words.append(f"{method} on {self.calibration.samples} samples")
        if self.method == "auto":
            words.append(f"at most {self.budget:g} lost")
        if self.recovery is not None:
            words.append("trained with its own rounding")
        return ", ".join([*words, "per channel" if self.per_channel else "per tensor"])
