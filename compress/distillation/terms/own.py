"""The terms of a task of one's own: its labels, and its teacher's outputs."""

from __future__ import annotations

from torch import Tensor

from compress.core.batch import labels_in
from compress.core.context import Batch
from compress.distillation.answers import Answers
from compress.distillation.options import Labels, Response
from compress.distillation.terms.term import Term
from compress.errors import StageError
from compress.tasks.checked import own_comparison, own_loss
from compress.tasks.contract import Task
from compress.tasks.outputs import split
from compress.training.batches import sample_count

LABELS_NAME, RESPONSE_NAME = "labels", "response"


class OwnLabels(Term):
    """The task's `loss`; see `compress.distillation.options.Labels` for its weight."""

    def __init__(self, options: Labels, task: Task) -> None:
        super().__init__()
        self._options, self._task = options, task

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        return {LABELS_NAME: self._options.weight * own_loss(self._task, student.outputs, batch)}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        return {LABELS_NAME: sample_count(batch) if labels_in(batch) else 0}


class OwnResponse(Term):
    """The task's `compare`; see `compress.distillation.options.Response` for weight and
    temperature."""

    reads_logits = True

    def __init__(self, options: Response, task: Task) -> None:
        super().__init__()
        self._options, self._task = options, task

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        if not isinstance(teacher.logits, Tensor):
            raise StageError("the response loss needs both models' outputs.")
        names, ours = list(student.outputs), list(student.outputs.values())
        theirs = dict(zip(names, split(teacher.logits, like=ours), strict=True))
        value = own_comparison(
            self._task, student.outputs, theirs, batch, temperature=self._options.temperature
        )
        return {RESPONSE_NAME: self._options.weight * value}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        return {RESPONSE_NAME: sample_count(batch)}
