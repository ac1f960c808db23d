"""Writes the deployable folder: a checked ONNX file and all that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from compress.core.artifact import Format
from compress.core.stage import Stage

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context


class Export(Stage):
    """Write model.onnx with its preprocessing, labels and an example script into one folder."""

    accepts: ClassVar[Mapping[Format, Format]] = {
        Format.TORCH: Format.ONNX,
        Format.ONNX: Format.ONNX,
        Format.ONNX_INT8: Format.ONNX_INT8,
    }

    opset: int | None = Field(default=None, ge=18, le=23)
    """ONNX opset of a model lowered here; null takes the default of torch's exporter."""
    tolerance: float = Field(default=1e-4, gt=0, lt=1)
    """Largest error against torch, as a part of the largest output where that is over 1."""
    samples: int = Field(default=64, ge=1)
    """Validation samples on which the ONNX file is compared with torch."""

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """The artifact as an ONNX file inside its bundle.

        Raises
        ------
        ParityError : the ONNX file of a torch module answers otherwise.
        StageError : the model can't be exported, or the file is no valid model.
        """
        from compress.exporting.bundle import MODEL, copy_model, write_bundle
        from compress.exporting.checked import lower_artifact
        from compress.exporting.onnx_file import opset_of

        directory = context.directory / "bundle"
        directory.mkdir(parents=True, exist_ok=True)
        model = directory / MODEL
        if artifact.format is Format.TORCH:
            parity = lower_artifact(
                artifact,
                context,
                model,
                opset=self.opset,
                tolerance=self.tolerance,
                samples=self.samples,
            )
            notes: tuple[str, ...] = (f"ONNX opset {opset_of(model)}", f"against torch: {parity}")
        else:
            copy_model(artifact.require_onnx(), model)
            notes = self._check(artifact, model, context)
        write_bundle(
            model,
            directory=directory,
            preprocessor=artifact.require_preprocessor(),
            labels=artifact.labels,
            task=context.task,
        )
        return artifact.with_onnx(
            model, format=self.accepts[artifact.format], bundle=directory, notes=notes
        )

    def _check(self, artifact: Artifact, model: Path, context: Context) -> tuple[str, ...]:
        """Notes on a file that was made by an earlier stage, once it has proved to run."""
        from compress.exporting.checked import real_batches
        from compress.exporting.onnx_file import check_file, opset_of
        from compress.exporting.parity import compare, module_answers, onnx_answers
        from compress.models.vocabulary import as_seen_by

        check_file(model)
        found = compare(
            module_answers(as_seen_by(artifact, context.reference), task=context.task),
            onnx_answers(model, threads=context.threads),
            batches=real_batches(artifact, context, samples=self.samples),
            target=context.task.target,
        ).require_finite(model)
        opset = opset_of(model)
        notes = [f"ONNX opset {opset}", f"against the reference: {found.top1()}"]
        if self.opset is not None and self.opset != opset:
            notes.append(f"'opset: {self.opset}' isn't used: the model was lowered before")
        return tuple(notes)

    def summarize(self) -> str:
        """Such as "opset 20, tolerance 0.0001"."""
        opset = "default opset" if self.opset is None else f"opset {self.opset}"
        return f"{opset}, tolerance {self.tolerance:g}"
