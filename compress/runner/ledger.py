"""Measures one row of the report: a stage's ONNX file in ONNX Runtime.

A model without an ONNX form is measured in PyTorch, and so are the models that it is compared with.
Latency may be measured in OpenVINO too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compress.exporting.checked import answer_batch_size
from compress.exporting.parity.compare import module_answers, module_outputs
from compress.measurement.latency.results import Conditions
from compress.measurement.macs.graph import Macs, count_macs
from compress.measurement.metrics.registry import Metric, metric_of
from compress.measurement.paired.against import compared
from compress.measurement.params import count_params
from compress.measurement.quality import Reference, measure_answers
from compress.measurement.size import size_bytes
from compress.report.document import Delta, Row
from compress.runner.inputs import torch_threads
from compress.runner.row.again import is_same, row_again
from compress.runner.row.from_text import measure_from_text
from compress.runner.row.generation import measure_generation
from compress.runner.row.inputs import latency_inputs
from compress.runner.row.models import ComparedModel, MeasuredModel, comparable
from compress.runner.row.speed import measure_speed, measure_typical, serving
from compress.runner.torch_measurement import NOTES, checkpoint_bytes

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context, Loader
    from compress.measurement.paired.kept import KeptAnswers
    from compress.measurement.quality import Answering
    from compress.measurement.spec import MeasureSpec

_QUALITY_BATCH = 32


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
    begun = time.perf_counter()
    metric = _metric(context, spec, measured.artifact)
    if original is not None and previous is not None and is_same(measured, previous):
        answers, row = previous.answers, row_again(measured, previous.row)
    else:
        answers, row = _measured(
            measured, metric, context=context, spec=spec, original=original, previous=previous
        )
    found = compared(
        answers,
        reference=None if original is None or metric.needs_reference else original.answers,
        previous=None if previous is None else previous.answers,
    )
    seconds = time.perf_counter() - begun
    changes = {
        "vs_reference": found.vs_reference,
        "vs_previous": found.vs_previous,
        "delta": _delta(row, original.row if original else row),
        "conditions": replace(row.conditions or Conditions(0.0, {}, {}), seconds=seconds),
        "notes": [*row.notes, *found.notes],
    }
    return MeasuredRow(row.model_copy(update=changes), answers)


def _measured(
    measured: MeasuredModel,
    metric: Metric,
    *,
    context: Context,
    spec: MeasureSpec,
    original: ComparedModel | None,
    previous: ComparedModel | None,
) -> tuple[KeptAnswers, Row]:
    """Return what is kept of the answers, and a row without comparisons of them."""
    inputs, notes = latency_inputs(measured.artifact, context, spec)
    params, macs, size = _counts(measured, inputs, previous)
    with torch_threads(spec.threads if measured.onnx is None else context.threads):
        answers = _answers(measured, metric, context=context, spec=spec, original=original)
        rivals = {
            "original": comparable(original, measured),
            "previous": comparable(previous, measured),
        }
        speeds = measure_speed(measured, inputs, context=context, spec=spec, **rivals)
        typical, untyped = measure_typical(measured, context=context, spec=spec, **rivals)
        text, unread = measure_from_text(measured, context=context, spec=spec, **rivals)
        served, unserved = serving(measured, inputs, spec)
        generating, said = measure_generation(
            measured, inputs, context=context, spec=spec, **rivals
        )
    row = Row(
        index=measured.index,
        name=measured.name,
        use=measured.use,
        params=params,
        macs=macs.total,
        size_bytes=size,
        quality=answers.quality,
        calibration_error=answers.calibration_error,
        recall=answers.recall,
        latency_ms=speeds.latency,
        speedup=speeds.speedup,
        throughput=speeds.throughput,
        typical=typical,
        from_text=text,
        serving=served,
        conditions=speeds.conditions,
        runtimes=speeds.runtimes,
        generation=generating,
        seconds=measured.seconds,
        peak_memory_bytes=measured.peak_memory_bytes,
        energy_kwh=measured.energy_kwh,
        notes=[
            *measured.artifact.notes,
            *notes,
            *_quality_notes(metric, context, spec),
            *macs.notes,
            *speeds.notes,
            *untyped,
            *unread,
            *unserved,
            *said,
        ],
    )
    return answers, row


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
