"""Applies a quantize stage, from the artifact that it is given to the file that it returns."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.artifact import Format
from compress.core.files.atomic import write_text
from compress.errors import StageError, TargetError
from compress.exporting.checked import export_artifact, real_batches
from compress.exporting.parity.compare import compare, onnx_answers
from compress.graph_variants.poolings import pool_means
from compress.graph_variants.variants import RECIPES, graph_variant, graph_variants, plain
from compress.measurement.cpu import TARGET_KEY, this_cpu
from compress.measurement.runtimes.names import OPENVINO
from compress.measurement.runtimes.openvino import library
from compress.onnx_graph.files import check_file, copy_model, load_graph, load_model, save_model
from compress.onnx_graph.graph import Graph
from compress.onnx_graph.single_precision import in_single_precision
from compress.quantization.evaluation import FLOAT, Candidate, record
from compress.quantization.mixed_precision.sqnr import write_noise
from compress.quantization.nncf.accuracy_control import Restoration
from compress.quantization.options import METHODS
from compress.quantization.selection import select
from compress.quantization.write import move
from compress.stages.quantize.attempts import attempt
from compress.stages.quantize.candidates import CandidateBuilder, CandidateSpec, Kind
from compress.stages.quantize.evaluate import make_evaluator, not_generating
from compress.stages.quantize.improve import improvements
from compress.stages.quantize.kinds import kinds, last_kind
from compress.stages.quantize.qat import train_aware
from compress.stages.quantize.race import best_method, first_spec, those_that_run
from compress.stages.quantize.search import (
    Search,
    float_costs,
)
from compress.stages.quantize.verdict import about_cpu, costs, no_gain, over_budget, reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.distillation.recovery import Recovery
    from compress.graph_variants.variants import GraphVariant
    from compress.measurement.cpu import TargetCpu
    from compress.measurement.results import Evaluation
    from compress.quantization.evaluation import Evaluator
    from compress.quantization.integers import Integers
    from compress.quantization.selection import Method, Selection
    from compress.stages.quantize.options import QuantizeOptions

MODEL, CANDIDATES = "model.onnx", "candidates.json"


class QuantizationRun:
    """One application of the stage.

    Parameters
    ----------
    stage : the options of the stage.
    """

    def __init__(self, stage: QuantizeOptions, artifact: Artifact, context: Context) -> None:
        self.stage = stage
        self.artifact = artifact
        self.context = context
        self.folder = context.directory / "candidates"
        self.cpu: TargetCpu = stage.target_cpu or this_cpu().target
        self.notes: list[str] = []

    def do(self) -> tuple[Path, tuple[str, ...]]:
        """Write model.onnx and candidates.json; return the path of the model, and notes."""
        self.folder.mkdir()
        source = self._source()
        evaluator = make_evaluator(self.stage, self.artifact, self.context, source=source)
        builder = self._builder(evaluator)
        if self.stage.target_runtime == OPENVINO:
            library()
            self.notes.append(f"timed and judged in OpenVINO {version(OPENVINO)}")
        if self.context.task.target == "next-token" and evaluator.text is None:
            self.notes.append(not_generating(self.stage))
        variants = self._variants(source)
        if self.stage.method == "auto":
            spec, evaluations = self._search(builder, evaluator, variants)
        else:
            spec, evaluations = self._as_asked(builder, evaluator, variants)
        self.notes += builder.left_out
        if builder.noise:
            write_noise(builder.noise, self.context.directory)
        if builder.dropped:
            self.notes.append(
                f"dropped after a few rounds, being slower: {'; '.join(builder.dropped)}"
            )
        chosen = builder.candidate(spec)
        if self.stage.recovery is not None:
            chosen, evaluations = self._train(self.stage.recovery, builder, evaluator, spec)
        if self.stage.method == "auto" and no_gain(chosen.name, evaluations):
            return self._keep_float(evaluations, evaluator.source)
        return self._hand_over(chosen, evaluations, spec, evaluator.source)

    def _source(self) -> Path:
        path = self.folder / "float.onnx"
        if self.artifact.format is Format.TORCH:
            told = export_artifact(self.artifact, self.context, path)
            self.notes.append(f"against torch: {told}")
            return self._prepared(path, path)
        return self._prepared(self.artifact.require_onnx(), path)

    def _prepared(self, source: Path, path: Path) -> Path:
        """Return a file to quantize, with floats of float32, which is the source if it is so."""
        model = load_model(source)
        kinds = in_single_precision(model)
        if not pool_means(Graph(model)) and not kinds:
            return source
        save_model(model, path)
        check_file(path, types=False)
        if kinds:
            said = f"weights stored in {' and '.join(kinds)} were quantized from float32"
            self.notes.append(said)
        return path

    def _builder(self, evaluator: Evaluator) -> CandidateBuilder:
        calibration = self.stage.calibration
        restoration = Restoration(evaluator.loss, self.stage.budget, self.folder)
        return CandidateBuilder(
            artifact=self.artifact,
            context=self.context,
            folder=self.folder,
            select=self._select,
            operators=self.stage.operators,
            calibration=calibration,
            per_channel=self.stage.per_channel,
            block_size=self.stage.block_size,
            exclude=self.stage.exclude,
            restoration=restoration if self.stage.accuracy_control else None,
            calibration_methods=(calibration.method,) if calibration.method else METHODS,
        )

    def _select(self, source: Path, method: Method) -> Selection:
        return select(
            load_graph(source),
            method=method,
            operators=self.stage.operators,
            exclude=self.stage.exclude,
            per_channel=self.stage.per_channel,
        )

    def _variants(self, source: Path) -> list[GraphVariant]:
        """Return the float graphs to quantize, the plain one first."""
        wanted = self.stage.graph
        if wanted == "auto":
            wanted = "auto" if self.stage.method == "auto" else "plain"
        if wanted == "plain" or self.stage.recovery is not None:
            return [plain(source)]
        sample = next(real_batches(self.artifact, self.context))
        if wanted != "auto":
            chosen = graph_variant(wanted, source, self.folder, sample=sample)
            if chosen is None:
                raise self._no_variant(wanted, source)
            return [chosen]
        make = partial(graph_variant, source=source, folder=self.folder, sample=sample)
        made = [
            attempt(f"the graph {name!r}", partial(make, name), left_out=self.notes)
            for name in RECIPES
        ]
        return [plain(source), *(each for each in made if each is not None)]

    def _no_variant(self, wanted: str, source: Path) -> StageError:
        names = ", ".join(each.name for each in graph_variants(source, self.folder))
        return StageError(f"this model's graph has the variants {names}. Got {wanted!r}.")

    def _kinds(self, source: Path) -> list[tuple[Kind, Integers]]:
        return kinds(self.stage, load_graph(source), task=self.context.task, cpu=self.cpu)

    def _search(
        self, builder: CandidateBuilder, evaluator: Evaluator, variants: Sequence[GraphVariant]
    ) -> tuple[CandidateSpec, list[Evaluation]]:
        found = Search(
            builder=builder,
            # A candidate over the budget may be within it after training.
            evaluator=evaluator
            if self.stage.recovery is None
            else replace(evaluator, budget=math.inf),
            variants=variants,
            kinds=self._kinds(evaluator.source),
            improvements=improvements(self.stage.improve, builder, evaluator),
            last=last_kind(self.stage, cpu=self.cpu),
            mix=self.stage.recovery is None,  # training takes back what 8 bits lose, not time
        ).run()
        if found.spec is None:
            raise self._over_budget(found.candidates, found.evaluations, evaluator.source)
        self.notes += found.notes
        return found.spec, found.evaluations

    def _as_asked(
        self, builder: CandidateBuilder, evaluator: Evaluator, variants: Sequence[GraphVariant]
    ) -> tuple[CandidateSpec, list[Evaluation]]:
        """Build with one method. No choice depends on time: all machines give the same result."""
        kind, integers = self._kinds(evaluator.source)[0]
        spec = best_method(first_spec(kind, variants[-1], integers, builder), builder, evaluator)
        steps = [spec]
        for improve in improvements(self.stage.improve or (), builder, evaluator):
            for made in improve(steps[-1]):
                runs = partial(those_that_run, [made], builder, evaluator)
                steps += attempt(made.name, runs, left_out=builder.left_out) or []
        evaluations = evaluator.judge([builder.candidate(each) for each in steps])
        self.notes += float_costs(steps[-1], steps, evaluations, builder)
        return steps[-1], evaluations

    def _train(
        self,
        recovery: Recovery,
        builder: CandidateBuilder,
        evaluator: Evaluator,
        spec: CandidateSpec,
    ) -> tuple[Candidate, list[Evaluation]]:
        before = builder.candidate(spec)
        chosen = train_aware(recovery, builder, spec)
        evaluations = evaluator.judge([before, chosen])
        if self.stage.method == "auto" and not evaluations[-1].fits:
            raise self._over_budget([before, chosen], evaluations, evaluator.source)
        return chosen, evaluations

    def _hand_over(
        self, chosen: Candidate, evaluations: list[Evaluation], spec: CandidateSpec, source: Path
    ) -> tuple[Path, tuple[str, ...]]:
        threads = self.context.threads
        found = compare(
            onnx_answers(source, threads=threads),
            onnx_answers(chosen.path, threads=threads),
            batches=real_batches(self.artifact, self.context),
            target=self.context.task.target,
        ).require_finite(chosen.path)
        own = next(each for each in evaluations if each.name == chosen.name)
        path = self.context.directory / MODEL
        move(chosen.path, path, metadata={} if spec.stores else {TARGET_KEY: self.cpu})
        self._finish(evaluations, chosen)
        notes = (
            chosen.name,
            *chosen.notes,
            *about_cpu(spec, self.cpu),
            f"against the float model: {found.top1()}",
            *(reasons(evaluations, chosen=own) if self.stage.method == "auto" else ()),
            *costs(own, evaluations[0]),
        )
        return path, (*self.notes, *notes)

    def _keep_float(
        self, evaluations: list[Evaluation], source: Path
    ) -> tuple[Path, tuple[str, ...]]:
        """Hand over the float model, since each candidate is slower and no smaller."""
        path = self.context.directory / MODEL
        copy_model(source, path)
        self._finish(evaluations, Candidate(FLOAT, source))
        return path, (*self.notes, *reasons(evaluations, chosen=evaluations[0]))

    def _finish(self, evaluations: list[Evaluation], chosen: Candidate) -> None:
        write_text(self.context.directory / CANDIDATES, record(evaluations, chosen=chosen))
        shutil.rmtree(self.folder)

    def _over_budget(
        self, candidates: Sequence[Candidate], evaluations: Sequence[Evaluation], source: Path
    ) -> TargetError:
        return over_budget(
            candidates,
            evaluations,
            source=source,
            batch=next(real_batches(self.artifact, self.context)),
            budget=self.stage.budget,
        )
