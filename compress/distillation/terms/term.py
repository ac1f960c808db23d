"""The base class of the terms of a student's loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from compress.core.batch import ATTENTION_MASK, IGNORED, LABELS
from compress.core.context import Batch
from compress.distillation.answers import Answers


class Term(nn.Module):
    """One term of the loss. It is a module, so that its own parameters are trained too.

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
        """Set up what depends on the shapes of both models' answers; return notes.

        Raises
        ------
        StageError : the shapes don't fit the loss.
        """
        return ()

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted parts by name, each averaged over the number that `counts` gives."""
        raise TypeError(f"{type(self).__name__} doesn't define 'parts'.")

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """Return the number of samples or tokens of a batch over which each part is averaged."""
        raise TypeError(f"{type(self).__name__} doesn't define 'counts'.")


def token_mask(batch: Batch) -> Tensor | None:
    """Return a mask of the tokens that aren't padding, bool (N, S); None for images.

    Samples of C texts give (N * C, S), as the models' inner tensors have it.
    """
    mask = batch.get(ATTENTION_MASK)
    return None if mask is None else mask.bool().flatten(0, -2)


def labelled(labels: Tensor) -> Tensor:
    """Return a bool mask of the labels that count: (N,) or (N, S) for ids, (N,) for floats."""
    if not labels.is_floating_point():
        return labels != IGNORED
    return (labels >= 0).all(dim=-1) & (labels.sum(dim=-1) > 0)


def labels_of(batch: Batch) -> Tensor:
    """Return a batch's labels."""
    return batch[LABELS]


def count(mask: Tensor) -> int:
    """Return the number of True values."""
    return int(torch.count_nonzero(mask))
