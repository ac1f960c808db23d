"""Scores of a task of one's own: its first metric, and its loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from compress.core.batch import labels_in
from compress.core.context import Batch
from compress.measurement.metrics.own import OwnFigure
from compress.measurement.metrics.tally import Answer
from compress.tasks.checked import own_loss
from compress.tasks.contract import Task, TaskMetric
from compress.training.batches import sample_count
from compress.training.distributed.processes import Processes
from compress.training.validation.scores import Score, finite

_LOSS = "loss"
_OUTPUT = "output "


class OwnScore:
    """Scores a student by a task's first metric, and between equals by the task's loss.

    A task whose first metric compares with the reference, or that has none, is scored by its loss.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        first = next(iter(task.table_of_metrics()), None)
        self._metric: TaskMetric | None = first if first and first.needs_labels else None
        self._figure = None if self._metric is None else OwnFigure(self._metric)
        self._loss, self._samples = 0.0, 0

    def results(self, student: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """The student's outputs and loss on a batch; nothing if the batch has no labels."""
        if not labels_in(batch):
            return {}
        outputs = self._task.named_outputs(student, batch)
        named = {_OUTPUT + name: value for name, value in outputs.items()}
        return {**named, _LOSS: own_loss(self._task, outputs, batch)}

    def add(self, results: Mapping[str, Tensor], batch: Batch) -> None:
        """Count the results of a batch.

        Raises
        ------
        StageError : the metric's functions fail.
        """
        if not results:
            return
        loss, samples = float(results[_LOSS]), sample_count(batch)
        self._loss, self._samples = self._loss + loss * samples, self._samples + samples
        # What isn't finite is told by `score`; a metric would fail on it in words of its own.
        if self._figure is not None and math.isfinite(self._loss):
            arrays = {
                name.removeprefix(_OUTPUT): value.float().cpu().numpy()
                for name, value in results.items()
                if name.startswith(_OUTPUT)
            }
            beside = {name: value.cpu().numpy() for name, value in batch.items()}
            self._figure.add(Answer(next(iter(arrays.values())), beside, outputs=arrays))

    def score(self, processes: Processes) -> Score | None:
        """The score over all processes, which all must call this; None if nothing had a label.

        Raises
        ------
        StageError : the loss isn't finite, or the metric's functions fail.
        """
        own = (self._loss, self._samples, self._figure.parts if self._figure else [])
        losses, samples, parts = zip(*processes.gather(own), strict=True)
        if not sum(samples):
            return None
        loss = finite(sum(losses) / sum(samples))
        if self._metric is None or self._figure is None:
            return Score(_LOSS, higher_is_better=False, figures={_LOSS: loss})
        value = self._figure.value([part for each in parts for part in each])
        found = {self._metric.name: value} if math.isfinite(value) else {}
        return Score(
            self._metric.name,
            higher_is_better=self._metric.higher_is_better,
            figures={**found, _LOSS: loss},
        )
