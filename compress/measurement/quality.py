"""Runs a model over samples and measures the quality of its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import LABELS
from compress.core.context import Batch, Loader, Target, Task
from compress.core.progress import Progress, Silent
from compress.errors import DataError, StageError
from compress.measurement.metrics.registry import Metric, metric_named
from compress.measurement.metrics.tally import Answer
from compress.measurement.paired.kept import KeptAnswers
from compress.measurement.paired.predictions import Predictions
from compress.measurement.results import Quality
from compress.measurement.session import run, session
from compress.tasks.task import TASKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Answering = Path | Callable[[Batch], "NDArray[np.float32] | dict[str, NDArray[np.float32]]"]
"""An ONNX file; or, for a model without one, a function from a batch to its outputs: one array, or
arrays by name."""

_SHAPES: Mapping[Target, tuple[int, str]] = {
    "class": (2, "scores of shape ({samples}, classes)"),
    "class-set": (2, "scores of shape ({samples}, classes)"),
    "token-class": (3, "scores of shape ({samples}, tokens, classes)"),
    "next-token": (3, "scores of shape ({samples}, tokens, vocabulary)"),
    "none": (3, "hidden states of shape ({samples}, tokens, width)"),
}
_POOLED = (2, "embeddings of shape ({samples}, width)")
_ONE_OUTPUT = "the model's first output"


@dataclass(frozen=True)
class Reference:
    """The model that answers are compared with.

    Attributes
    ----------
    model : its ONNX file, or a function in its place.
    loader : the same samples in batches of the same size, with the reference's own preprocessing;
        None: the model's loader.
    """

    model: Answering
    loader: Loader | None = None


def measure_quality(  # noqa: PLR0913 (each is read by name)
    model: Answering,
    *,
    loader: Loader,
    metric: str | Metric,
    task: Task = TASKS["image-classification"],
    labels: Sequence[str] = (),
    reference: Reference | None = None,
    threads: int = 1,
    progress: Progress | None = None,
    seed: int = 0,
    exact: bool = False,
) -> Quality:
    """A metric over a loader's batches. Only one batch's answers are held at a time.

    Parameters and errors are those of `measure_answers`, which also keeps the answers.
    """
    return measure_answers(
        model,
        loader=loader,
        metric=metric,
        task=task,
        labels=labels,
        reference=reference,
        threads=threads,
        progress=progress,
        seed=seed,
        exact=exact,
        classes=False,
    ).quality


def measure_answers(  # noqa: PLR0913 (each is read by name)
    model: Answering,
    *,
    loader: Loader,
    metric: str | Metric,
    task: Task = TASKS["image-classification"],
    labels: Sequence[str] = (),
    reference: Reference | None = None,
    threads: int = 1,
    progress: Progress | None = None,
    seed: int = 0,
    exact: bool = False,
    test_data: str = "",
    classes: bool = True,
) -> KeptAnswers:
    """A metric over a loader's batches, and what is kept of the answers to compare models by.

    Parameters
    ----------
    model : an ONNX file, run in ONNX Runtime, or a function that answers.
    metric : such as "accuracy"; see `compress.measurement.metrics.registry.METRICS`. Or the metric
        itself.
    task : the task; says what the outputs and the labels are, and holds the metrics of its own.
    labels : class names in the order of the scores, for metrics that read them.
    reference : for metrics that compare the model with another; None: the model itself.
    seed : seed of the intervals' bootstraps.
    exact : see `compress.measurement.session.session`.
    test_data : digest of the loader's samples, kept beside the answers.
    classes : whether the predicted classes are kept too.

    Raises
    ------
    InputError : the metric is unknown, or doesn't fit the class names.
    DataError : a batch lacks an input or `labels`, or there are no samples.
    StageError : a file can't be loaded or run, or its first output hasn't the shape of scores.
    """
    found = metric if isinstance(metric, Metric) else metric_named(metric, task=task, labels=labels)
    tally, predictions = found.tally(labels), Predictions(task.target, labels)
    wanted = reference if found.needs_reference else None
    other = None if wanted is None else _answers(wanted, loader, task, threads, exact)
    with (progress or Silent()).track(f"measuring {found.name}", len(loader)) as advance:
        for answer in _answers(Reference(model), loader, task, threads, exact):
            if found.needs_reference:
                compared = answer if other is None else next(other)
                answer = replace(answer, reference=compared)
            tally.add(answer)
            if classes:
                predictions.add(answer)
            advance()
    if not tally.samples:
        labelled = "" if found.needs_reference else "labelled "
        raise DataError(f"there are no {labelled}samples to measure {found.name} on.")
    score = tally.score(seed=seed)
    quality = Quality(found.name, score.value, score.ci95, tally.samples, found.higher_is_better)
    return KeptAnswers(
        quality,
        test_data=test_data,
        held=score.held,
        draws=score.draws,
        classes=tuple(labels),
        **predictions.collected()._asdict(),
    )


def _answers(
    model: Reference, loader: Loader, task: Task, threads: int, exact: bool
) -> Iterator[Answer]:
    """The model's answer to each batch."""
    answer = _answering(model.model, task, threads, exact)
    for batch in model.loader or loader:
        said, outputs = answer(batch)
        scores = next(iter(outputs.values()))
        _require_scores(outputs, batch, said=said, task=task)
        arrays = {key: np.asarray(value) for key, value in batch.items()}
        yield Answer(scores, arrays, outputs=outputs)


def _answering(
    model: Answering, task: Task, threads: int, exact: bool
) -> Callable[[Batch], tuple[str, dict[str, NDArray[np.float32]]]]:
    """A function from a batch to the words for the outputs in a message, and the outputs."""
    if callable(model):
        return lambda batch: (_ONE_OUTPUT, _by_name(model(batch), task))
    runtime = session(model, threads=threads, exact=exact)

    def answer(batch: Batch) -> tuple[str, dict[str, NDArray[np.float32]]]:
        outputs = run(runtime, batch)
        return f"output {next(iter(outputs))!r} of {model}", outputs

    return answer


def _by_name(answer: Any, task: Task) -> dict[str, NDArray[np.float32]]:
    return answer if isinstance(answer, dict) else {task.output_names[0]: answer}


def _require_scores(
    outputs: Mapping[str, NDArray[np.float32]], batch: Batch, *, said: str, task: Task
) -> None:
    samples = len(next(iter(batch.values()))) if LABELS not in batch else len(batch[LABELS])
    if task.target == "own":
        _require_numbers(outputs, samples)
        return
    scores = next(iter(outputs.values()))
    dimensions, allowed = _POOLED if task.pools else _SHAPES[task.target]
    if scores.ndim != dimensions or len(scores) != samples:
        raise StageError(f"{said} must be {allowed.format(samples=samples)}. Got {scores.shape}.")
    _require_finite(said, scores)


def _require_numbers(outputs: Mapping[str, NDArray[np.float32]], samples: int) -> None:
    for name, values in outputs.items():
        if values.ndim == 0 or len(values) != samples:
            raise StageError(
                f"output {name!r} must have {samples} samples. Got the shape {values.shape}."
            )
        _require_finite(f"output {name!r}", values)


def _require_finite(said: str, scores: NDArray[np.float32]) -> None:
    # NaN passes through min and max, which need no second array of this size.
    if not np.isfinite([scores.min(initial=0), scores.max(initial=0)]).all():
        raise StageError(f"{said} has scores that aren't finite numbers.")
