"""The terms on a model's outputs, for the task that it is for."""

from __future__ import annotations

from compress.core.context import Task
from compress.distillation.options import Labels, Response
from compress.distillation.terms.label import LabelsTerm
from compress.distillation.terms.own import OwnLabels, OwnResponse
from compress.distillation.terms.response import ResponseTerm
from compress.distillation.terms.term import Term
from compress.tasks.contract import Task as OwnTask


def labels_term(options: Labels, task: Task) -> Term:
    """Return the term for learning from the data's labels."""
    if isinstance(task, OwnTask):
        return OwnLabels(options, task)
    return LabelsTerm(options, target=task.target)


def response_term(options: Response, task: Task) -> Term:
    """Return the term for learning from the teacher's outputs."""
    if isinstance(task, OwnTask):
        return OwnResponse(options, task)
    return ResponseTerm(options, target=task.target)
