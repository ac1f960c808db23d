"""The objective of a student, as `compress.training.loop.fit` takes it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from compress.core.batch import SAMPLE_IDS
from compress.core.context import Batch, Task
from compress.distillation.answers import Answers, Teacher
from compress.distillation.taps import Taps
from compress.distillation.teacher import answers
from compress.distillation.terms.term import Term
from compress.training.learner import Loss


class Objective(nn.Module):
    """The weighted sum of terms on the answers of a student and its teacher to the same batch.

    The terms' own parameters (projections) are its parameters; the teacher's aren't.

    Parameters
    ----------
    terms : the terms of the sum.
    task : runs the student.
    taps : taps on the student's modules that the terms read.
    teacher : a live teacher; None if no term needs one.
    cached : a teacher that answers from disk, for batches with sample ids.
    head : see `compress.distillation.teacher.LiveTeacher`.
    penalty : a further loss on the student's weights.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        *,
        task: Task,
        taps: Taps,
        teacher: Teacher | None = None,
        cached: Teacher | None = None,
        head: bool = True,
        penalty: Loss | None = None,
    ) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)
        self._task, self._taps, self._head = task, taps, head
        self._teacher, self._cached = teacher, cached
        self._penalty = penalty

    def forward(self, student: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted parts by name; their sum is the loss."""
        ours = answers(student, batch, task=self._task, taps=self._taps, head=self._head)
        theirs = self._teacher_answers(batch)
        parts: dict[str, Tensor] = {}
        for term in self._terms():
            with _arithmetic(term, batch):
                parts |= term.parts(ours, theirs, batch)
        if self._penalty is not None:
            parts |= self._penalty(student, batch)
        return parts

    def counts(self, batch: Batch) -> dict[str, int]:
        """Return the number of samples or tokens over which each part is averaged."""
        counts: dict[str, int] = {}
        for term in self._terms():
            counts |= term.counts(batch)
        return counts if self._penalty is None else counts | dict(self._penalty.counts(batch))

    def _terms(self) -> list[Term]:
        return [term for term in self.terms if isinstance(term, Term)]

    def _teacher_answers(self, batch: Batch) -> Answers:
        if self._cached is not None and SAMPLE_IDS in batch:
            return self._cached(batch)
        return Answers(None) if self._teacher is None else self._teacher(batch)


def _arithmetic(term: Term, batch: Batch) -> AbstractContextManager[None]:
    """Return a context for a term: fp32 whatever the models' precision, unless it runs a head."""
    if term.runs_head:
        return nullcontext()
    return torch.autocast(next(iter(batch.values())).device.type, enabled=False)
