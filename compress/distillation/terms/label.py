"""The term for learning from the data's labels."""

from __future__ import annotations

from torch import Tensor

from compress.core.context import Batch, Target
from compress.distillation import losses
from compress.distillation.answers import Answers
from compress.distillation.options import Labels
from compress.distillation.terms.term import Term, count, labelled, labels_of
from compress.errors import StageError

NAME = "labels"


class LabelsTerm(Term):
    """See `compress.distillation.options.Labels`."""

    def __init__(self, options: Labels, *, target: Target) -> None:
        super().__init__()
        self._options, self._target = options, target

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        logits, targets = student.logits, labels_of(batch)
        if not isinstance(logits, Tensor):
            raise StageError("the labels loss needs the student's logits.")
        smoothing = self._options.smoothing
        if self._target == "class-set":
            value = losses.binary_labels(logits, targets, label_smoothing=smoothing)
        else:
            if self._target == "next-token":
                logits, targets = losses.shift(logits, targets)
            value = losses.labels(logits, targets, label_smoothing=smoothing)
        return {NAME: self._options.weight * value}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        targets = labels_of(batch)
        if self._target == "next-token":
            targets = targets[:, 1:]
        if self._target == "class-set":
            return {NAME: count((targets >= 0).all(dim=-1))}
        return {NAME: count(labelled(targets))}
