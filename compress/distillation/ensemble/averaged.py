"""A teacher whose probabilities are the mean of several teachers'.

Buciluă et al. ("Model Compression", KDD 2006) teach one small model by the mean of an ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from compress.core.context import Batch, Target
from compress.distillation.answers import Answers, Teacher
from compress.errors import StageError


class AveragedTeacher:
    """A `compress.distillation.answers.Teacher` that asks others and averages.

    Parameters
    ----------
    teachers : one or more, all of the same classes.
    target : "class" averages probabilities of classes that exclude one another, "class-set" those
        of each class by itself.
    """

    def __init__(self, teachers: Sequence[Teacher], *, target: Target) -> None:
        self._teachers, self._target = tuple(teachers), target

    def __call__(self, batch: Batch) -> Answers:
        """Return logits of the mean probabilities, (N, C); for "class" their logarithms.

        Raises
        ------
        StageError : a teacher gives no logits.
        """
        given = [teacher(batch).logits for teacher in self._teachers]
        logits = [one.float() for one in given if isinstance(one, Tensor)]
        if len(logits) != len(given):
            raise StageError("answers can be averaged only if every teacher gives all its logits.")
        if self._target == "class-set":
            yes = _mean([functional.logsigmoid(one) for one in logits])
            no = _mean([functional.logsigmoid(-one) for one in logits])
            return Answers(yes - no)
        return Answers(_mean([one.log_softmax(-1) for one in logits]))


def _mean(logarithms: Sequence[Tensor]) -> Tensor:
    """Logarithm of the mean of what these are the logarithms of."""
    return torch.stack(list(logarithms)).logsumexp(0) - math.log(len(logarithms))
