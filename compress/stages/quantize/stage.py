"""Turns the model into the fastest INT8 ONNX file whose quality stays within a budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from compress.core.artifact import Format
from compress.measurement.generation.spec import GENERATES
from compress.measurement.runtimes.names import OPENVINO, WORDS, missing
from compress.models.onnx_file.problems import nothing_to_quantize
from compress.quantization.options import Calibration
from compress.stages.contract import Stage
from compress.stages.quantize.options import QuantizeOptions

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.data.spec import DataSpec
    from compress.models.spec import ModelSpec


class Quantize(QuantizeOptions, Stage):
    """Quantize the model to INT8 for ONNX Runtime."""

    accepts: ClassVar[Mapping[Format, Format]] = {
        Format.TORCH: Format.ONNX_INT8,
        Format.ONNX: Format.ONNX_INT8,
    }

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        found = [*self._needing_extra(), *self._generation(task, data)]
        if model.onnx is not None:
            nothing = nothing_to_quantize(model.onnx)
            wrong = [("use", nothing)] if nothing else []
            return [*found, *self._needing_torch(), *wrong]
        if self.recovery is None:
            return found
        return [*found, *self.recovery.problems(task=task, data=data, key="recovery")]

    def _needing_extra(self) -> list[tuple[str, str]]:
        """Return what needs packages that aren't installed."""
        keys = {"method": self.method == "nncf", "target_runtime": self.target_runtime == OPENVINO}
        wrong = missing(["openvino", "nncf"])
        return [(key, wrong) for key, used in keys.items() if used and wrong is not None][:1]

    def libraries(self) -> tuple[str, ...]:
        """See `Stage.libraries`."""
        by_others = self.method == "nncf" or self.target_runtime == OPENVINO
        return ("nncf", "openvino") if by_others else ()

    def _generation(self, task: str, data: DataSpec) -> list[tuple[str, str]]:
        """Return what is wrong with the text with which candidates are timed."""
        spec = self.evaluation.generation
        wrong = None if spec is None else spec.problem(task, most=data.max_length)
        return [] if wrong is None else [("evaluation.generation", wrong)]

    def _needing_torch(self) -> list[tuple[str, str]]:
        """Return what can't be done to a model that is an ONNX file from the beginning."""
        given = "and 'model' is an ONNX file"
        found = []
        if self.recovery is not None:
            found.append(("recovery", f"'recovery' needs a PyTorch teacher, {given}."))
        if "smoothquant" in (self.improve or ()):
            wrong = f"'smoothquant' is folded into a PyTorch module, {given}."
            found.append(("improve", wrong))
        return found

    def warnings(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[str]:
        """See `Stage.warnings`."""
        unused = (
            self.method in ("dynamic", "weight_only", "storage")
            and self.calibration != Calibration()
        )
        found = [f"'calibration' isn't used by method {self.method}"] if unused else []
        generating = task == GENERATES and self.target_runtime != OPENVINO
        key, how = (
            ("batch_sizes", "as they generate text")
            if generating
            else ("generation", f"on whole texts in {WORDS[self.target_runtime]}")
        )
        if task == GENERATES and key in self.evaluation.model_fields_set:
            found.append(f"'evaluation.{key}' isn't used: candidates are timed {how}")
        return found

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact as an INT8 ONNX file. A torch module is exported first, and checked.

        Raises
        ------
        ParityError : the answers of the float ONNX file differ from the torch module's.
        TargetError : method `auto` finds no candidate within the budget.
        StageError : no node can be quantized with this method.
        """
        from compress.stages.quantize.run import QuantizationRun

        path, notes = QuantizationRun(self, artifact, context).do()
        return artifact.with_onnx(path, format=Format.ONNX_INT8, notes=notes)

    def summarize(self) -> str:
        """Return a summary such as "static, minmax on 128 samples, per channel"."""
        words = [
            {
                "weight_only": f"{self.bits}-bit weights",
                "storage": f"weights stored in {self.bits} bits",
                "nncf": f"NNCF on {self.calibration.samples} samples",
            }.get(self.method, self.method)
        ]
        if self.method in ("static", "static_scales", "auto"):
            method = self.calibration.method or "best calibration"
            words.append(f"{method} on {self.calibration.samples} samples")
        if self.method == "auto":
            words.append(f"at most {self.budget:g} lost")
        if self.accuracy_control:
            words.append("accuracy control")
        if self.target_runtime == OPENVINO:
            words.append(f"for {WORDS[OPENVINO]}")
        if self.recovery is not None:
            words.append("quantization-aware trained (QAT)")
        return ", ".join([*words, "per channel" if self.per_channel else "per tensor"])
