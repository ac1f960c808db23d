"""Writes the bundle: a checked ONNX file and all that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from compress.core.artifact import Format
from compress.core.bounds import MOST_SAMPLES
from compress.models.onnx_file.beside import config_folder
from compress.stages.contract import Stage
from compress.tasks.registry import outline

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context, Raw
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec


class Export(Stage):
    """Write model.onnx with its preprocessing, labels and an example script into one folder."""

    accepts: ClassVar[Mapping[Format, Format]] = {
        Format.TORCH: Format.ONNX,
        Format.ONNX: Format.ONNX,
        Format.ONNX_INT8: Format.ONNX_INT8,
    }

    opset: int | None = Field(default=None, ge=18, le=23)
    """ONNX opset of a model that this stage exports; null for the default of torch's exporter."""
    precision: Literal["fp32", "fp16"] = "fp32"
    """Precision in which a float model is stored and computed. With fp16, inputs and outputs stay
    float32. An INT8 model stays as it is, and can't be combined with fp16."""
    dynamic_image_size: bool = False
    """Accept images of any height and width. The model must be fully convolutional, and this stage
    must be the one that exports it."""
    tolerance: float = Field(default=1e-4, gt=0, lt=1)
    """Largest absolute error allowed against torch, relative to the largest output where that is
    over 1."""
    samples: int = Field(default=64, ge=1, le=MOST_SAMPLES)
    """Validation samples on which the ONNX file is compared with torch."""
    keep_samples: int = Field(default=8, ge=0, le=8)
    """Number of validation samples that the bundle keeps with their answers, for `compress verify`.
    They are kept raw (texts, or image files with their metadata) and preprocessed. Give 0 where no
    data may leave."""
    transformers_js: bool = False
    """Also give the file the path that Transformers.js looks for, such as
    onnx/model_quantized.onnx. It is a hard link, so the file is stored once."""
    license: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]*$")
    """License of the result, such as apache-2.0. Null takes the license that the original model's
    card names; where it names none, the bundle states none."""

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact as an ONNX file inside its bundle.

        Raises
        ------
        ParityError : the answers of the ONNX file differ from the torch module's, or those of the
            fp16 file from the float file's.
        StageError : the model can't be exported, or the file is no valid model.
        """
        from compress.exporting.bundle.layout import lay_out
        from compress.exporting.bundle.write import MODEL, write_bundle
        from compress.exporting.exported import ExportOptions, write_exported

        directory = context.directory / "bundle"
        directory.mkdir(parents=True, exist_ok=True)
        model = directory / MODEL
        options = ExportOptions(
            opset=self.opset,
            dynamic_image_size=self.dynamic_image_size,
            tolerance=self.tolerance,
            samples=self.samples,
            half=self.precision == "fp16",
        )
        notes = write_exported(artifact, context, model, options=options)
        raw = context.data.raw("validation", limit=max(1, self.keep_samples))
        write_bundle(
            model,
            directory=directory,
            preprocessor=artifact.require_preprocessor(),
            labels=artifact.labels,
            task=context.task,
            pairs=raw.kind == "pair" or (raw.kind == "fields" and "text_pair" in raw.values[0]),
        )
        if self.transformers_js:
            lay_out(model)
        notes += self._tried(artifact, model, context, raw)
        return artifact.with_onnx(
            model, format=self.accepts[artifact.format], bundle=directory, notes=notes
        )

    def _tried(
        self, artifact: Artifact, model: Path, context: Context, raw: Raw
    ) -> tuple[str, ...]:
        """Compare the example script's answers with the measured ones; keep samples if asked."""
        from compress.exporting.bundle.samples import write_samples
        from compress.exporting.checked import real_batches, reference_answers
        from compress.exporting.examples.tried import tried

        batch = next(real_batches(artifact, context, samples=max(1, self.keep_samples)))
        kept, notes = tried(
            model,
            raw,
            batch,
            preprocessor=artifact.require_preprocessor(),
            task=context.task,
        )
        if self.keep_samples:
            write_samples(
                model,
                [batch],
                model.parent,
                reference=reference_answers(artifact, context),
                raw=kept,
            )
        return notes

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        problems = []
        if self.dynamic_image_size and outline(task).modality != "image":
            problems.append(("dynamic_image_size", f"is for tasks on images. Got task {task!r}"))
        if self.transformers_js and model.python is not None:
            wrong = "Transformers.js loads models of transformers only, and 'model' is 'python'."
            problems.append(("transformers_js", wrong))
        if self.transformers_js and model.onnx is not None and config_folder(model) is None:
            wrong = "Transformers.js reads config.json, and there is none with 'model.onnx'."
            problems.append(("transformers_js", wrong))
        return problems

    def summarize(self) -> str:
        """Such as "opset 20, fp32, tolerance 0.0001"."""
        opset = "default opset" if self.opset is None else f"opset {self.opset}"
        return f"{opset}, {self.precision}, tolerance {self.tolerance:g}"
