"""Measures one row of the report: a stage's ONNX file in ONNX Runtime.

A model without an ONNX form is measured in PyTorch, and so are the models that it is compared with.
Latency may be measured in OpenVINO too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compress.core.batch import model_inputs
from compress.errors import DataError, StageError
from compress.exporting.checked import answer_batch_size, real_batches
from compress.exporting.parity.compare import (
    compare,
    module_answers,
    module_outputs,
    onnx_answers,
)
from compress.measurement.generation.decoder import NO_CACHE, Decoder, OnnxDecoder
from compress.measurement.generation.module import ModuleDecoder
from compress.measurement.generation.spec import DECODING, PREFILL, GenerationSpec
from compress.measurement.generation.speed import generation, passage_of, time_generation
from compress.measurement.latency.clocks import process_clock
from compress.measurement.latency.measure import measure_latency
from compress.measurement.macs.graph import Macs, count_macs
from compress.measurement.metrics.registry import Metric, metric_of
from compress.measurement.paired.against import compared
from compress.measurement.params import count_params
from compress.measurement.quality import Reference, measure_answers
from compress.measurement.results import Generation, InRuntime, Latency, Speedup
from compress.measurement.runtimes.beside import InOpenVino, answers_note, open_in_openvino
from compress.measurement.runtimes.names import OPENVINO
from compress.measurement.size import size_bytes
from compress.report.document import Delta, Row
from compress.runner.inputs import torch_threads
from compress.runner.torch_measurement import NOTES, checkpoint_bytes, module_calls

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context, Loader
    from compress.measurement.latency.measure import Timed
    from compress.measurement.latency.times import Latencies, Load
    from compress.measurement.paired.kept import KeptAnswers
    from compress.measurement.quality import Answering
    from compress.measurement.spec import MeasureSpec

_QUALITY_BATCH = 32
_ORIGINAL, _PREVIOUS, _THIS = "original", "previous", "this"


@dataclass(frozen=True)
class MeasuredModel:
    """One measured model, and its place in the pipeline.

    Attributes
    ----------
    onnx : its file; None for a model that is measured in PyTorch.
    folder : the stage's folder, which holds a torch artifact's checkpoint.
    """

    index: int
    name: str
    use: str | None
    artifact: Artifact
    onnx: Path | None
    folder: Path
    seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True)
class ComparedModel:
    """A model that was measured before, to compare with.

    Attributes
    ----------
    onnx : its file, if it has one.
    row, answers : what was measured.
    """

    artifact: Artifact
    onnx: Path | None
    row: Row
    answers: KeptAnswers


class MeasuredRow(NamedTuple):
    """A row of the report, and what is kept of the model's answers to the test samples."""

    row: Row
    answers: KeptAnswers


def measure_row(
    measured: MeasuredModel,
    *,
    context: Context,
    spec: MeasureSpec,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> MeasuredRow:
    """Measure a stage's model, side by side with the original and the previous stage's.

    Parameters
    ----------
    original : the reference; None if the measured is the reference itself.
    previous : the model that the stage was given; None for the first row.
    """
    inputs, notes = latency_inputs(measured.artifact, context, spec)
    metric = _metric(context, spec, measured.artifact)
    params, macs, size = _counts(measured, inputs, previous)
    with torch_threads(spec.threads if measured.onnx is None else context.threads):
        answers = _answers(measured, metric, context=context, spec=spec, original=original)
        rivals = {
            "original": _comparable(original, measured),
            "previous": _comparable(previous, measured),
        }
        times = _timed(measured, inputs, context=context, spec=spec, **rivals)
        generating, said = _generating(measured, inputs, context=context, spec=spec, **rivals)
    found = compared(
        answers,
        reference=None if original is None or metric.needs_reference else original.answers,
        previous=None if previous is None else previous.answers,
    )
    row = Row(
        index=measured.index,
        name=measured.name,
        use=measured.use,
        params=params,
        macs=macs.total,
        size_bytes=size,
        quality=answers.quality,
        vs_reference=found.vs_reference,
        vs_previous=found.vs_previous,
        calibration_error=answers.calibration_error,
        recall=answers.recall,
        latency_ms=times.latency,
        speedup=times.speedup,
        runtimes=times.runtimes,
        generation=generating,
        seconds=measured.seconds,
        peak_memory_bytes=measured.peak_memory_bytes,
        notes=[
            *measured.artifact.notes,
            *notes,
            *_quality_notes(metric, context, spec),
            *found.notes,
            *macs.notes,
            *times.notes,
            *said,
        ],
    )
    delta = _delta(row, original.row if original else row)
    return MeasuredRow(row.model_copy(update={"delta": delta}), answers)


def _counts(
    measured: MeasuredModel,
    inputs: Mapping[int, dict[str, np.ndarray[Any, Any]]],
    previous: ComparedModel | None,
) -> tuple[int, Macs, int]:
    """Return params, MACs and bytes. Without ONNX, the first two are the previous model's."""
    if measured.onnx is None:
        if previous is None:
            raise TypeError("a model that is measured in PyTorch must come after a float one.")
        macs = Macs(previous.row.macs, NOTES)
        return previous.row.params, macs, checkpoint_bytes(measured.folder)
    single = {name: array[:1] for name, array in next(iter(inputs.values())).items()}
    macs = count_macs(measured.onnx, single)
    return count_params(measured.onnx), macs, size_bytes(measured.onnx)


def _comparable(rival: ComparedModel | None, measured: MeasuredModel) -> ComparedModel | None:
    """Return the rival if it runs in the measured's runtime, else None."""
    if rival is None:
        return None
    missing = rival.artifact.module if measured.onnx is None else rival.onnx
    return None if missing is None else rival


def _metric(context: Context, spec: MeasureSpec, artifact: Artifact) -> Metric:
    return metric_of(
        spec.metric, task=context.task, labels=artifact.labels, labelled=context.data.labelled
    )


def _answers(
    measured: MeasuredModel,
    metric: Metric,
    *,
    context: Context,
    spec: MeasureSpec,
    original: ComparedModel | None,
) -> KeptAnswers:
    in_torch = measured.onnx is None
    return measure_answers(
        _answering(measured, context, in_torch=in_torch),
        loader=_quality_loader(measured.artifact, metric, context=context, spec=spec),
        metric=metric,
        task=context.task,
        labels=measured.artifact.labels,
        reference=None
        if original is None
        else Reference(
            _answering(original, context, in_torch=in_torch),
            _quality_loader(context.reference, metric, context=context, spec=spec),
        ),
        threads=context.threads,
        progress=context.progress,
        test_data=context.data.identity("test"),
    )


def _answering(
    model: MeasuredModel | ComparedModel, context: Context, *, in_torch: bool
) -> Answering:
    if in_torch or model.onnx is None:
        answers = module_outputs if context.task.target == "own" else module_answers
        return answers(model.artifact.require_module(), task=context.task)
    return model.onnx


def _quality_loader(
    artifact: Artifact, metric: Metric, *, context: Context, spec: MeasureSpec
) -> Loader:
    limits = [limit for limit in (spec.samples, metric.most_samples) if limit is not None]
    preprocessor = artifact.require_preprocessor()
    return context.data.loader(
        "test",
        preprocessor,
        batch_size=answer_batch_size(preprocessor, task=context.task, most=_QUALITY_BATCH),
        limit=min(limits, default=None),
    )


def _quality_notes(metric: Metric, context: Context, spec: MeasureSpec) -> list[str]:
    most, size = metric.most_samples, context.data.size("test")
    if most is None or min(size, spec.samples or size) <= most:
        return []
    return [f"{metric.name}: of the first {most:,} of {size:,} test samples, all pairs of them"]


def _delta(row: Row, reference: Row) -> Delta:
    return Delta(
        # A forest or another model of scikit-learn has its parameters in nodes, where none count.
        params=row.params / reference.params - 1 if reference.params else 0.0,
        size=row.size_bytes / reference.size_bytes - 1,
        quality=row.quality.value - reference.quality.value,
    )


def latency_inputs(
    artifact: Artifact, context: Context, spec: MeasureSpec
) -> tuple[dict[int, dict[str, np.ndarray[Any, Any]]], list[str]]:
    """Return real test samples for each batch size, texts padded to full length, and notes."""
    inputs: dict[int, dict[str, np.ndarray[Any, Any]]] = {}
    notes = []
    for size in spec.batch_sizes:
        loader = context.data.loader(
            "test",
            artifact.require_preprocessor(),
            batch_size=size,
            limit=size,
            fixed_length=True,
        )
        batch = next(iter(loader))
        arrays = {name: x.numpy() for name, x in model_inputs(batch).items()}
        got = len(next(iter(arrays.values())))
        if got < size:
            notes.append(f"latency at batch {size}: the {got} test samples were repeated")
            arrays = {name: np.resize(x, (size, *x.shape[1:])) for name, x in arrays.items()}
        inputs[size] = arrays
    return inputs, notes


class _Times(NamedTuple):
    """Latency and speedups by batch size, the same by further runtime, and notes."""

    latency: dict[str, Latency]
    speedup: dict[str, Speedup]
    runtimes: dict[str, InRuntime]
    notes: tuple[str, ...]


def _timed(
    measured: MeasuredModel,
    inputs: Mapping[int, dict[str, np.ndarray[Any, Any]]],
    *,
    context: Context,
    spec: MeasureSpec,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> _Times:
    """Return what rounds tell in which the models take turns."""

    def model(of: MeasuredModel | ComparedModel) -> Timed:
        if measured.onnx is None or of.onnx is None:
            return module_calls(of.artifact.require_module(), task=context.task)
        return of.onnx

    models = {name: model(of) for name, of in _in_turn(measured, original, previous).items()}
    files = {
        name: path for name, path in models.items() if isinstance(path, Path) and name != _PREVIOUS
    }
    others = open_in_openvino(spec.runtimes, files, inputs, threads=spec.threads)
    times = measure_latency(
        models | others.timed(),
        inputs,
        spec=spec,
        progress=context.progress,
        clock=process_clock(spec.threads) if others.models else None,
    )
    latency, speedup = {}, {}
    for size in spec.batch_sizes:
        latency[str(size)] = times.latency(size, _THIS)
        speedup[str(size)] = _speedup(times, size, models, original=original, previous=previous)
    runtimes, notes = _elsewhere(others, times, measured, context=context, original=original)
    return _Times(latency, speedup, runtimes, (*times.notes, *notes))


def _in_turn(
    measured: MeasuredModel, original: ComparedModel | None, previous: ComparedModel | None
) -> dict[str, MeasuredModel | ComparedModel]:
    """Return the models that take turns; the original and the previous one may be the same."""
    models: dict[str, MeasuredModel | ComparedModel] = {_THIS: measured}
    if original is not None:
        models[_ORIGINAL] = original
    if previous is not None:
        same = original is not None and previous.row.index == original.row.index
        models[_ORIGINAL if same else _PREVIOUS] = previous
    return models


def _speedup(
    times: Latencies,
    load: Load,
    models: Iterable[str],
    *,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> Speedup:
    over = {name: times.speedup(load, _THIS, over=name) for name in models}
    vs_original, ci95 = over.get(_ORIGINAL, over[_THIS])
    vs_previous, previous_ci95 = over.get(_PREVIOUS, (vs_original, ci95))
    return Speedup(
        vs_original=vs_original,
        ci95=None if original is None else ci95,
        vs_previous=None if previous is None else vs_previous,
        previous_ci95=None if previous is None else previous_ci95,
    )


def _generating(
    measured: MeasuredModel,
    inputs: Mapping[int, dict[str, np.ndarray[Any, Any]]],
    *,
    context: Context,
    spec: MeasureSpec,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> tuple[Generation | None, list[str]]:
    """Return the speed of generating text, if that is the task, and notes."""
    if context.task.target != "next-token":
        return None, []
    text = passage_of(next(iter(inputs.values())), spec.generation or GenerationSpec())
    models = _in_turn(measured, original, previous)
    try:
        decoders: dict[str, Decoder] = {
            name: ModuleDecoder(of.artifact.require_module(), task=context.task)
            if measured.onnx is None or of.onnx is None
            else OnnxDecoder(of.onnx, threads=spec.threads)
            for name, of in models.items()
        }
        times = time_generation(
            decoders,
            text,
            seconds=spec.seconds,
            threads=spec.threads,
            progress=context.progress,
        )
    except (DataError, StageError) as error:
        return None, [f"generation isn't timed: {error}"]
    speedups = {
        part: _speedup(times, part, models, original=original, previous=previous)
        for part in (PREFILL, DECODING)
    }
    cached = decoders[_THIS].has_cache
    notes = [] if cached else [NO_CACHE]
    return generation(times, text, cached=cached, speedups=speedups, model=_THIS), notes


def _elsewhere(
    others: InOpenVino,
    times: Latencies,
    measured: MeasuredModel,
    *,
    context: Context,
    original: ComparedModel | None,
) -> tuple[dict[str, InRuntime], list[str]]:
    """Return the speed in OpenVINO, if the model runs there, and notes on the answers."""
    model = others.models.get(_THIS)
    if model is None or measured.onnx is None:
        return {}, list(others.refused.values())[:1]
    try:
        found = compare(
            onnx_answers(measured.onnx, threads=context.threads),
            model.answer,
            batches=real_batches(measured.artifact, context),
            target=context.task.target,
        ).require_finite(measured.onnx)
    except StageError as error:
        return {}, [f"not timed in OpenVINO: {error}"]
    speeds = others.speeds(times, this=_THIS, original=_THIS if original is None else _ORIGINAL)
    runtime = speeds.with_answers(agreement=found.agreement, max_difference=found.max_error)
    return {OPENVINO: runtime}, [answers_note(runtime, said=found.top1())]
