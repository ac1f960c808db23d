"""Options of the `quantize` stage. No torch and no onnx here."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from compress.core.options import Options
from compress.distillation.recovery import Recovery
from compress.errors import unknown
from compress.measurement.cpu import TargetCpu
from compress.measurement.runtimes.names import ONNXRUNTIME, Runtime
from compress.quantization.options import Calibration, EvaluationOptions
from compress.quantization.selection import DYNAMIC, STATIC_KNOWN

QuantizationMethod = Literal[
    "auto", "dynamic", "static_scales", "static", "weight_only", "storage", "nncf"
]
Improvement = Literal["smoothquant", "equalize", "bias_correction", "adaround", "float_fallback"]


class QuantizeOptions(Options):
    """Options that decide how an INT8 model is made, chosen and improved."""

    method: QuantizationMethod = "auto"
    """`dynamic` computes the scales of activations at run time; `static` calibrates them.
    `static_scales` uses the integer matmuls of `dynamic` with calibrated scales. `weight_only`
    leaves activations in float. `storage` stores weights in few bits and computes with them in
    float, at the speed of the float model. `nncf` is NNCF's post-training quantization (needs
    `compress[openvino]`). `auto` builds the candidates that can be fast, measures
    each, and keeps the fastest within `budget`."""
    graph: Literal["auto", "plain", "lean", "attention"] = "auto"
    """The float graph that is quantized: as exported; without unread work and without fusions that
    are slower; or with attention as one operator. `auto` takes the fastest as measured for method
    `auto`, and the plain graph for the other methods."""
    calibration: Calibration = Calibration()
    """How static quantization finds the ranges of activations; `dynamic` needs no calibration."""
    budget: float = Field(default=0.005, ge=0, lt=1)
    """The largest loss of quality on validation samples that method `auto` allows: an absolute
    difference of the metric, or for perplexity a relative one."""
    evaluation: EvaluationOptions = EvaluationOptions()
    """Options of the measurement of candidates."""
    improve: tuple[Improvement, ...] | None = None
    """Steps that raise accuracy, in this order. Null leaves the choice to method `auto`, which
    improves fast candidates that lose too much; with other methods null means none."""
    recovery: Recovery | None = None
    """Quantization-aware training (QAT) with the reference as teacher; for static quantization
    only. Null for none."""
    per_channel: bool = True
    """Use one scale for each output channel of a weight, rather than one for the whole weight."""
    bits: Literal[4, 8, 16] = 8
    """Bits of a weight: 4 or 8 with method `weight_only`, 8 or 16 with `storage`."""
    block_size: Literal[16, 32, 64, 128, 256] = 32
    """Number of weights that share a scale, with method `weight_only`."""
    accuracy_control: bool = False
    """With NNCF: layers go back to float, those that lose most first, until the loss is within
    `budget`."""
    target_runtime: Runtime = ONNXRUNTIME
    """The runtime in which candidates are timed and their quality is measured. With `openvino`,
    `auto` tries NNCF too; needs `compress[openvino]`."""
    target_cpu: TargetCpu | None = None
    """The kind of CPU that the file is made for; null for this machine's."""
    operators: tuple[str, ...] | None = None
    """ONNX operator types to quantize; null for those that become faster and lose little."""
    exclude: tuple[str, ...] = ()
    """Patterns (*, ?) of the names of weights or nodes that stay in float, such as
    "classifier.*"."""

    @field_validator("operators")
    @classmethod
    def _known(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        known = {*DYNAMIC, *STATIC_KNOWN}
        for name in value or ():
            if name not in known:
                raise ValueError(unknown("operator", name, known))
        return value

    @field_validator("target_cpu", mode="before")
    @classmethod
    def _one_kind(cls, value: object) -> object:
        if value == "any":
            raise ValueError(
                "one INT8 file can't suit every CPU. Put 'export' with 'target_cpu: any' in the "
                "place of 'quantize': it makes INT8 for some and stored weights for the others."
            )
        return value

    @model_validator(mode="after")
    def _bits_of_the_method(self) -> Self:
        allowed = {"weight_only": (4, 8), "storage": (8, 16)}.get(self.method, (8,))
        if self.bits not in allowed:
            raise ValueError(
                f"'bits' is {' or '.join(map(str, allowed))} with method {self.method!r}. "
                f"Got {self.bits}."
            )
        return self

    @model_validator(mode="after")
    def _of_nncf(self) -> Self:
        by_nncf = self.method == "nncf" or (
            self.method == "auto" and self.target_runtime != ONNXRUNTIME
        )
        if self.accuracy_control and not by_nncf:
            raise ValueError(
                "'accuracy_control' is NNCF's. "
                f"Got method {self.method!r} and target_runtime {self.target_runtime!r}; it needs "
                "method nncf, or auto with target_runtime openvino."
            )
        if self.method == "nncf" and (self.operators is not None or self.improve):
            key = "improve" if self.improve else "operators"
            instead = "'accuracy_control'" if self.improve else "'exclude'"
            raise ValueError(
                f"{key!r} isn't for method nncf, which decides that itself. Use {instead}."
            )
        return self

    @model_validator(mode="after")
    def _static_alone_trains(self) -> Self:
        if self.recovery is not None and self.method not in ("auto", "static"):
            raise ValueError(
                "'recovery' trains with the rounding of static quantization. "
                f"Got method {self.method!r}; it must be static or auto."
            )
        return self
