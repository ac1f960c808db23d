"""Makes the files of several precisions from one float file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compress.errors import StageError
from compress.exporting.bundle.precisions import PATHS
from compress.exporting.checked import real_batches
from compress.exporting.half import to_half
from compress.graph_variants.variants import plain
from compress.measurement.cpu import TARGET_KEY, this_cpu
from compress.onnx_graph.files import copy_model, load_graph
from compress.quantization.cpu import integers_for, reason
from compress.quantization.evaluation import Candidate
from compress.quantization.options import METHODS, Calibration
from compress.quantization.selection import convolution_share, select
from compress.quantization.write import move
from compress.stages.quantize.candidates import CandidateBuilder, Kind
from compress.stages.quantize.race import best_method, first_spec

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.exporting.bundle.precisions import BundlePrecision
    from compress.measurement.cpu import TargetCpu
    from compress.quantization.evaluation import Evaluator
    from compress.quantization.selection import Method, Selection

_OF_WEIGHTS: dict[BundlePrecision, Kind] = {"storage": "storage-8", "q4": "weight_only-4"}


class PrecisionMaker:
    """Makes the file of each precision.

    Parameters
    ----------
    source : the float32 file that all are made from.
    bundle : the bundle's folder, in which the files lie as `PATHS` says.
    folder : where unfinished files are written.
    samples : validation samples on which fp16 is compared with float32.
    """

    def __init__(
        self,
        artifact: Artifact,
        context: Context,
        *,
        source: Path,
        bundle: Path,
        folder: Path,
        samples: int,
    ) -> None:
        self.artifact, self.context = artifact, context
        self.source, self.bundle = source, bundle
        self.samples = samples
        self.cpu = target_of(this_cpu().target)
        self._builder = CandidateBuilder(
            artifact=artifact,
            context=context,
            folder=folder,
            select=_select,
            calibration=Calibration(),
            per_channel=True,
            block_size=32,
            operators=None,
            exclude=(),
            calibration_methods=METHODS,
        )

    def make(self, precision: BundlePrecision, evaluator: Evaluator) -> Candidate:
        """Write the file of a precision; return it with notes on how it was made.

        Raises
        ------
        StageError : the model can't be given in this precision.
        """
        path = self.bundle / PATHS[precision]
        path.parent.mkdir(exist_ok=True)
        try:
            if precision == "fp32":
                copy_model(self.source, path)
                return Candidate(precision, path)
            if precision == "fp16":
                return self._half(path)
            return self._quantized(precision, path, evaluator)
        except StageError as error:
            raise type(error)(f"'precisions' names {precision}: {error}") from error

    def _half(self, path: Path) -> Candidate:
        batches = real_batches(self.artifact, self.context, samples=self.samples)
        target = self.context.task.target
        found = to_half(self.source, path=path, batches=batches, target=target)
        return Candidate("fp16", path, (f"against fp32: {found}",))

    def _quantized(self, precision: BundlePrecision, path: Path, evaluator: Evaluator) -> Candidate:
        graph = load_graph(self.source)
        convolutional = convolution_share(graph) > 0.5
        kind = _OF_WEIGHTS.get(precision, "static" if convolutional else "dynamic")
        integers = integers_for(self.cpu, method="static" if kind == "static" else "dynamic")[0]
        draft = first_spec(kind, plain(self.source), integers, self._builder)
        spec = best_method(draft, self._builder, evaluator)
        made = self._builder.candidate(spec)
        computes = precision == "int8"
        move(made.path, path, metadata={TARGET_KEY: self.cpu} if computes else {})
        notes = (*made.notes, *([reason(self.cpu, integers)] if computes else []))
        return Candidate(f"{precision}: {made.name}", path, notes)


def target_of(here: TargetCpu) -> TargetCpu:
    """Return the kind of CPU that a bundle's INT8 file is made for.

    It is one on which the examples take this file: of this machine's maker, with instructions for
    8-bit products. Other CPUs take another precision.
    """
    return "arm-dotprod" if here.startswith("arm") else "x86-vnni"


def _select(source: Path, method: Method) -> Selection:
    return select(load_graph(source), method=method, operators=None, exclude=(), per_channel=True)
