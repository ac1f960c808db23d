"""Writes the bundle: a checked ONNX file and all that is needed to use it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.core.artifact import Format
from compress.core.bounds import MOST_SAMPLES, MOST_UNITS
from compress.errors import StageError
from compress.exporting.bundle.precisions import BundlePrecision
from compress.measurement.runtimes.names import missing
from compress.models.onnx_file.beside import config_folder
from compress.quantization.options import EvaluationOptions
from compress.stages.contract import Stage
from compress.tasks.registry import outline

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context, Raw
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec


_BATCH = 32
_NEEDS_FLOAT = (
    "needs a float model, of which it makes each precision, and would be given INT8. Put 'export' "
    "in the place of 'quantize': its precision int8 is made in the same way."
)


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
    precisions: tuple[BundlePrecision, ...] | None = Field(default=None, min_length=1)
    """Several precisions in one bundle, each made of the float model and measured: `fp32`, `fp16`,
    `int8` (as `quantize` makes it with its defaults), `storage` (8 bits, computed in float) and
    `q4`. The first is model.onnx, which the row measures. The examples choose for the machine."""
    target_cpu: Literal["any"] | None = None
    """`any` is short for `precisions: [storage, int8]`: INT8 for CPUs with instructions for 8-bit
    products, and weights stored in 8 bits for the others."""
    evaluation: EvaluationOptions = EvaluationOptions()
    """Options of the measurement of `precisions`."""
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
    openvino: bool = False
    """Also write model.onnx in OpenVINO's own form (IR): openvino_model.xml and openvino_model.bin,
    as optimum-intel names them. Needs `compress[openvino]`."""
    dimensions: Annotated[int, Field(ge=1, le=MOST_UNITS)] | None = None
    """Number of an embedding's first dimensions that the file keeps, at length 1 again where the
    embeddings have it; null for all. How much they lose is the model's own; the row measures it."""
    int8_vectors: bool = False
    """Also write the range of each of an embedding's dimensions over the calibration samples into
    postprocessing.json. `infer.py --int8` then makes vectors of one byte for each number."""
    license: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]*$")
    """License of the result, such as apache-2.0. Null takes the license that the original model's
    card names; where it names none, the bundle states none."""

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        given = self.precisions or ()
        if len(set(given)) < len(given):
            raise ValueError(f"'precisions' names one twice. Got {', '.join(given)}.")
        if self.precisions is not None and self.target_cpu is not None:
            raise ValueError(
                "'target_cpu: any' stands for 'precisions: [storage, int8]'. Got 'precisions' too."
            )
        if self.all_precisions and self.precision != "fp32":
            raise ValueError(
                f"'precision' is that of a bundle with one. Name {self.precision} among the "
                f"'precisions', which are {', '.join(self.all_precisions)}."
            )
        if self.all_precisions and self.dimensions is not None:
            raise ValueError("'dimensions' must be null in a bundle with several precisions.")
        return self

    @property
    def all_precisions(self) -> tuple[BundlePrecision, ...]:
        """The precisions of a bundle that holds several; empty for one that doesn't."""
        return self.precisions or (("storage", "int8") if self.target_cpu == "any" else ())

    def check_given(self, given: Format) -> list[tuple[str, str]]:
        """See `Stage.check_given`."""
        if not self.all_precisions or given is not Format.ONNX_INT8:
            return []
        return [("target_cpu" if self.target_cpu else "precisions", _NEEDS_FLOAT)]

    def _require_float(self, artifact: Artifact) -> None:
        for key, problem in self.check_given(artifact.format):
            raise StageError(f"{key!r} {problem}")

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact as an ONNX file inside its bundle.

        Raises
        ------
        ParityError : the answers of the ONNX file differ from the torch module's, or those of the
            fp16 file from the float file's.
        StageError : the model can't be exported, given in one of the precisions or read by
            OpenVINO, or the file is no valid model.
        """
        from compress.exporting.bundle.layout import lay_out
        from compress.exporting.bundle.write import MODEL, write_bundle
        from compress.exporting.checked import real_batches
        from compress.exporting.dimensions import keep_dimensions
        from compress.exporting.exported import ExportOptions, write_exported
        from compress.exporting.openvino_form import write_form
        from compress.stages.precisions.write import write_precisions

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
        files: dict[BundlePrecision, Path] = {}
        if self.all_precisions:
            self._require_float(artifact)
            files, notes = write_precisions(
                artifact,
                context,
                directory,
                precisions=self.all_precisions,
                options=options,
                evaluation=self.evaluation,
            )
        else:
            notes = write_exported(artifact, context, model, options=options)
        if self.dimensions is not None:
            normalize = context.task.normalize
            notes += (keep_dimensions(model, self.dimensions, normalize=normalize),)
        raw = context.data.raw("validation", limit=max(1, self.keep_samples))
        write_bundle(
            model,
            directory=directory,
            preprocessor=artifact.require_preprocessor(),
            labels=artifact.labels,
            task=context.task,
            pairs=raw.kind == "pair" or (raw.kind == "fields" and "text_pair" in raw.values[0]),
            precisions=bool(files),
        )
        if self.int8_vectors:
            notes += (self._ranges(artifact, model, context),)
        if self.transformers_js and not files:
            lay_out(model)
        if self.openvino:
            batches = real_batches(artifact, context, samples=self.samples)
            notes += (write_form(model, batches=batches, target=context.task.target),)
        notes += self._tried(artifact, model, context, raw, files)
        return artifact.with_onnx(
            model, format=self.accepts[artifact.format], bundle=directory, notes=notes
        )

    def _ranges(self, artifact: Artifact, model: Path, context: Context) -> str:
        from compress.exporting.bundle.vectors import write_ranges
        from compress.exporting.checked import answer_batch_size

        preprocessor = artifact.require_preprocessor()
        size = answer_batch_size(preprocessor, task=context.task, most=_BATCH)
        batches = context.data.loader("calibration", preprocessor, batch_size=size)
        return write_ranges(model, batches, threads=context.threads)

    def _tried(
        self,
        artifact: Artifact,
        model: Path,
        context: Context,
        raw: Raw,
        files: Mapping[BundlePrecision, Path],
    ) -> tuple[str, ...]:
        """Compare the example script's answers with the measured ones; keep samples if asked.

        Parameters
        ----------
        files : the file of each of several precisions, that of `model` first.
        """
        from compress.exporting.bundle.samples import write_samples
        from compress.exporting.checked import real_batches, reference_answers
        from compress.exporting.examples.tried import tried
        from compress.models.transformers.vocabulary import reads_alike

        batch = next(real_batches(artifact, context, samples=max(1, self.keep_samples)))
        asked: list[tuple[BundlePrecision | None, Path]] = [*files.items()] or [(None, model)]
        found = [
            tried(
                file,
                raw,
                batch,
                preprocessor=artifact.require_preprocessor(),
                task=context.task,
                precision=precision,
            )
            for precision, file in asked
        ]
        kept = found[0][0]
        if self.keep_samples:
            alike = reads_alike(artifact, context.reference)
            write_samples(
                model,
                [batch],
                model.parent,
                reference=reference_answers(artifact, context) if alike else None,
                raw=kept,
                precisions=files or None,
            )
        named = zip(files, found, strict=False)
        if files:
            return tuple(f"{name}: {note}" for name, (_, notes) in named for note in notes)
        return found[0][1]

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        problems = []
        if self.openvino and (wrong := missing(["openvino"])) is not None:
            problems.append(("openvino", wrong))
        if self.dynamic_image_size and outline(task).modality != "image":
            problems.append(("dynamic_image_size", f"is for tasks on images. Got task {task!r}"))
        for key, given in (("dimensions", self.dimensions), ("int8_vectors", self.int8_vectors)):
            if given and outline(task).target != "none":
                allowed = "feature-extraction and sentence-similarity"
                problems.append((key, f"is for tasks with embeddings, {allowed}. Got {task!r}"))
        if self.transformers_js and model.python is not None:
            wrong = "Transformers.js loads models of transformers only, and 'model' is 'python'."
            problems.append(("transformers_js", wrong))
        if self.transformers_js and model.onnx is not None and config_folder(model) is None:
            wrong = "Transformers.js reads config.json, and there is none with 'model.onnx'."
            problems.append(("transformers_js", wrong))
        return problems

    def libraries(self) -> tuple[str, ...]:
        """See `Stage.libraries`."""
        return ("openvino",) if self.openvino else ()

    def summarize(self) -> str:
        """Such as "opset 20, fp32, tolerance 0.0001"."""
        opset = "default opset" if self.opset is None else f"opset {self.opset}"
        precisions = " and ".join(self.all_precisions or (self.precision,))
        form = ", OpenVINO IR" if self.openvino else ""
        form += f", {self.dimensions} dimensions" if self.dimensions else ""
        form += ", int8 vectors" if self.int8_vectors else ""
        return f"{opset}, {precisions}, tolerance {self.tolerance:g}{form}"
