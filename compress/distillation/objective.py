"""What a student minimises, as `compress.training.loop.fit` takes it."""

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

    What the terms learn themselves (projections) are its parameters; the teacher isn't part of it.

    Parameters
    ----------
    terms : the parts of the sum.
    task : runs the student.
    taps : what the terms read of the student besides its output.
    teacher : answers live; None where no term needs one.
    cached : answers batches that name their samples, from disk.
    head : see `compress.distillation.teacher.LiveTeacher`.
    penalty : more parts, which read the student's weights rather than its answers.
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
        """The weighted parts by name; their sum is the loss."""
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
        """Over how many samples or tokens each part is averaged."""
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
    """Losses are computed in fp32 whatever the models' precision, but for a head inside one."""
    if term.runs_head:
        return nullcontext()
    return torch.autocast(next(iter(batch.values())).device.type, enabled=False)
