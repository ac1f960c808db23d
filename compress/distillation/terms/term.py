"""What every part of a student's loss has in common."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compress.core.batch import ATTENTION_MASK, IGNORED, LABELS
from compress.core.context import Batch
from compress.distillation.answers import Answers


class Term(nn.Module):
    """One part of the loss; a module, so that what it learns itself is trained with the student.

    Attributes
    ----------
    student_features, teacher_features : paths of modules whose outputs it reads.
    student_attentions, teacher_attentions : paths of layers whose attention weights it reads.
    reads_logits : whether it reads the teacher's output.
    runs_head : whether it runs the models' heads itself, in the models' precision.
    """

    student_features: tuple[str, ...] = ()
    teacher_features: tuple[str, ...] = ()
    student_attentions: tuple[str, ...] = ()
    teacher_attentions: tuple[str, ...] = ()
    reads_logits: bool = False
    runs_head: bool = False

    def prepare(self, student: Answers, teacher: Answers) -> tuple[str, ...]:
        """Make what depends on the shapes of both models' answers; returns notes.

        Raises
        ------
        StageError : the shapes don't fit the loss.
        """
        return ()

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """The weighted parts by name, each averaged over what `counts` says."""
        raise TypeError(f"{type(self).__name__} doesn't define 'parts'.")

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """Over how many samples or tokens of a batch each part is averaged."""
        raise TypeError(f"{type(self).__name__} doesn't define 'counts'.")


def token_mask(batch: Batch) -> Tensor | None:
    """Which tokens aren't padding, bool (N, S); None for images."""
    mask = batch.get(ATTENTION_MASK)
    return None if mask is None else mask.bool()


def labelled(labels: Tensor) -> Tensor:
    """What has a label, bool: (N,) or (N, S) of classes, (N,) of rows of probabilities or 0/1."""
    if not labels.is_floating_point():
        return labels != IGNORED
    return (labels >= 0).all(dim=-1) & (labels.sum(dim=-1) > 0)


def labels_of(batch: Batch) -> Tensor:
    """A batch's labels."""
    return batch[LABELS]


def count(mask: Tensor) -> int:
    """How many are True."""
    return int(torch.count_nonzero(mask))
