"""The rival of a run: trained once, kept in its folder, compared with the reference."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from compress.errors import DataError, InputError, StageError
from compress.measurement.baseline.measure import measure_baseline, rival_of
from compress.measurement.baseline.measured import MeasuredBaseline
from compress.measurement.baseline.rival import runtime
from compress.measurement.metrics.registry import metric_of
from compress.measurement.paired.difference import difference, unpaired
from compress.measurement.paired.kept import from_file
from compress.measurement.results import Baseline
from compress.runner.keys import digest, sources

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.context import Context
    from compress.measurement.metrics.registry import Metric
    from compress.measurement.spec import MeasureSpec
    from compress.runner.folder.rival import RivalFiles
    from compress.runner.row.models import ComparedModel

_FORM = 1
"""Raised when the rival is made in another way; it is then trained again."""
_BASELINE = TypeAdapter(Baseline)


class FoundBaseline(NamedTuple):
    """The rival, if there is one, and notes on why there is none."""

    measured: MeasuredBaseline | None
    notes: tuple[str, ...] = ()


def find_baseline(
    artifact: Artifact, context: Context, spec: MeasureSpec, files: RivalFiles
) -> FoundBaseline:
    """Return the rival from an earlier run's files, or else train it.

    A rival that can't be trained on the data, or measured by the metric, ends no run: a note says
    why there is none.

    Parameters
    ----------
    artifact : the model that the run begins with; says what the classes are.
    """
    if spec.baseline is None or not context.data.labelled:
        return FoundBaseline(None)
    metric = metric_of(spec.metric, task=context.task, labels=artifact.labels, labelled=True)
    if metric.needs_reference:
        return FoundBaseline(None)  # it says nothing of who is right
    key = digest(_decisive(artifact, context, spec))
    found = _kept(files, key)
    if found is not None:
        return FoundBaseline(found)
    try:
        kind = rival_of(context.data, context.task, metric)
        if kind is None:
            return FoundBaseline(None)
        context.progress.say(f"baseline: {kind}, in at most a minute")
        found = _measured(artifact, context, spec, metric)
    except (DataError, StageError) as error:
        return FoundBaseline(None, (f"no baseline: {error}",))
    if found is not None:
        files.save(key, asdict(found.baseline), answers=found.answers.to_bytes())
    return FoundBaseline(found)


def against(found: MeasuredBaseline | None, reference: ComparedModel | None) -> Baseline | None:
    """Return the rival's figures with the verdict against the reference, if they can be paired."""
    if found is None:
        return None
    if reference is None or unpaired(found.answers, reference.answers) is not None:
        return found.baseline
    return replace(found.baseline, verdict=difference(found.answers, reference.answers))


def _measured(
    artifact: Artifact, context: Context, spec: MeasureSpec, metric: Metric
) -> MeasuredBaseline | None:
    limits = [limit for limit in (spec.samples, metric.most_samples) if limit is not None]
    return measure_baseline(
        context.data,
        artifact.require_preprocessor(),
        task=context.task,
        metric=metric,
        labels=artifact.labels,
        limit=min(limits, default=None),
        test_data=context.data.identity("test"),
        seed=context.seed,
        progress=context.progress,
    )


def _decisive(artifact: Artifact, context: Context, spec: MeasureSpec) -> dict[str, Any]:
    return {
        "form": _FORM,
        "runtime": runtime(),
        "data": context.data.fingerprint,
        "test": context.data.identity("test"),
        "task": context.task.name,
        "labels": list(artifact.labels),
        "measure": spec.model_dump(mode="json", include={"metric", "samples"}),
        "sources": sources(spec),
        "seed": context.seed,
    }


def _kept(files: RivalFiles, key: str) -> MeasuredBaseline | None:
    saved = files.find(key)
    if saved is None:
        return None
    figures, path = saved
    try:
        return MeasuredBaseline(_BASELINE.validate_python(figures), from_file(path))
    except (ValidationError, InputError):  # of a version that kept other figures
        return None
