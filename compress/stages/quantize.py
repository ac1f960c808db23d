"""Turns the model into an INT8 ONNX file, with dynamic or static quantization."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import field_validator

from compress.core.artifact import Format
from compress.core.stage import Stage
from compress.errors import unknown
from compress.quantization.options import Calibration
from compress.quantization.selection import DYNAMIC, STATIC_KNOWN

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.quantization.selection import Selection


class Quantize(Stage):
    """Quantize to INT8: unsigned activations, signed weights, run by ONNX Runtime."""

    accepts: ClassVar[Mapping[Format, Format]] = {
        Format.TORCH: Format.ONNX_INT8,
        Format.ONNX: Format.ONNX_INT8,
    }

    method: Literal["auto", "dynamic", "static"] = "auto"
    """Auto is static where most weights belong to convolutions, and dynamic otherwise."""
    calibration: Calibration = Calibration()
    """How static quantization finds the ranges of activations; dynamic needs none."""
    per_channel: bool = True
    """A scale for each output channel of a weight, rather than one for the whole weight."""
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

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """The artifact as an INT8 ONNX file; a torch module is lowered first, and checked.

        Raises
        ------
        ParityError : the float ONNX file of a torch module answers otherwise.
        StageError : nothing can be quantized, or not with this method.
        """
        from compress.exporting.checked import lower_artifact

        path = context.directory / "model.onnx"
        if artifact.format is not Format.TORCH:
            notes = self._quantize(artifact.require_onnx(), path, artifact, context)
        else:
            lowered = context.directory / "float.onnx"
            try:
                notes = (f"against torch: {lower_artifact(artifact, context, lowered)}",)
                notes += self._quantize(lowered, path, artifact, context)
            finally:
                for file in context.directory.glob(f"{lowered.name}*"):
                    file.unlink()
        return artifact.with_onnx(path, format=Format.ONNX_INT8, notes=notes)

    def _quantize(
        self, source: Path, path: Path, artifact: Artifact, context: Context
    ) -> tuple[str, ...]:
        from compress.exporting.checked import real_batches
        from compress.exporting.parity import compare, onnx_answers
        from compress.measurement.graph import load_graph
        from compress.measurement.size import size_bytes
        from compress.quantization.dynamic import quantize_dynamic
        from compress.quantization.instructions import int8_instructions
        from compress.quantization.selection import select

        cpu = int8_instructions()
        selection = select(
            load_graph(source).graph,
            method=self.method,
            operators=self.operators,
            exclude=self.exclude,
        )
        notes = [*selection.notes, cpu.reason]
        if selection.method == "static":
            notes.append(self._static(source, path, selection, artifact, context))
        else:
            quantize_dynamic(
                source,
                path=path,
                selection=selection,
                instructions=cpu,
                per_channel=self.per_channel,
            )
            if self.calibration != Calibration():
                notes.append("'calibration' isn't used by dynamic quantization")
        found = compare(
            onnx_answers(source, threads=context.threads),
            onnx_answers(path, threads=context.threads),
            batches=real_batches(artifact, context),
            target=context.task.target,
        ).require_finite(path)
        notes.append(f"against the float model: {found.top1()}")
        before, after = size_bytes(source), size_bytes(path)
        if after >= before:
            notes.append(f"no smaller: {after:,} bytes in INT8, {before:,} in float")
        return tuple(notes)

    def _static(
        self,
        source: Path,
        path: Path,
        selection: Selection,
        artifact: Artifact,
        context: Context,
    ) -> str:
        from compress.quantization.instructions import int8_instructions
        from compress.quantization.static import quantize_static

        wanted = self.calibration.samples
        quantize_static(
            source,
            path=path,
            selection=selection,
            batches=context.data.loader(
                "calibration", artifact.require_preprocessor(), batch_size=8, limit=wanted
            ),
            calibration=self.calibration,
            instructions=int8_instructions(),
            per_channel=self.per_channel,
            progress=context.progress,
        )
        used = min(wanted, context.data.size("calibration"))
        fewer = "" if used == wanted else f" (of {wanted} asked for; the split has no more)"
        return f"calibrated on {used} samples{fewer}, method {self.calibration.method}"

    def summarize(self) -> str:
        """Such as "static, minmax on 128 samples, per channel"."""
        calibration = f"{self.calibration.method} on {self.calibration.samples} samples"
        words = [self.method] + ([] if self.method == "dynamic" else [calibration])
        return ", ".join([*words, "per channel" if self.per_channel else "per tensor"])
