"""The term for learning from the teacher's answers."""

from __future__ import annotations

from torch import Tensor

from compress.core.batch import IGNORED
from compress.core.context import Batch, Target
from compress.distillation import losses
from compress.distillation.answers import Answers, TopK
from compress.distillation.options import Response
from compress.distillation.terms.term import (
    Term,
    count,
    labelled,
    labels_of,
    token_mask,
)
from compress.errors import StageError
from compress.training.batches import sample_count

NAME = "response"


class ResponseTerm(Term):
    """The term of `compress.distillation.options.Response`; `fits` says for which tasks."""

    reads_logits = True

    def __init__(self, options: Response, *, target: Target) -> None:
        super().__init__()
        self._options, self._target = options, target

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        ours, theirs = student.logits, teacher.logits
        if not isinstance(ours, Tensor) or theirs is None:
            raise StageError("the response loss needs both models' logits.")
        mask = self._mask(batch)
        if self._target == "next-token":
            ours, theirs = ours[:, :-1], _before_last(theirs)
        if isinstance(theirs, TopK):
            value = losses.response_top_k(
                ours,
                indices=theirs.indices,
                teacher_logits=theirs.logits,
                teacher_tail=theirs.tail,
                temperature=self._options.temperature,
                mask=mask,
            )
        else:
            value = self._whole(ours, theirs, mask, batch)
        return {NAME: self._options.weight * value}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        mask = self._mask(batch)
        return {NAME: sample_count(batch) if mask is None else count(mask)}

    def _mask(self, batch: Batch) -> Tensor | None:
        if self._target == "next-token":
            return labels_of(batch)[:, 1:] != IGNORED
        if self._target == "token-class":
            return token_mask(batch)
        return labelled(labels_of(batch)) if self._options.decoupled else None

    def _whole(self, ours: Tensor, theirs: Tensor, mask: Tensor | None, batch: Batch) -> Tensor:
        options, temperature = self._options, self._options.temperature
        if self._target == "class-set":
            return losses.binary_response(ours, theirs, temperature=temperature)
        if options.decoupled is not None:
            targets = labels_of(batch)
            if targets.is_floating_point():
                raise StageError("'decoupled' needs one class a sample. Got mixtures of them.")
            return losses.decoupled(
                ours,
                theirs,
                targets,
                temperature=temperature,
                alpha=options.decoupled.alpha,
                beta=options.decoupled.beta,
                mask=mask,
            )
        if options.divergence != "forward":
            return losses.token_divergence(
                ours,
                theirs,
                divergence=options.divergence,
                temperature=temperature,
                jsd_beta=options.jsd_beta,
                mask=mask,
            )
        return losses.response(
            ours,
            theirs,
            temperature=temperature,
            mask=mask,
            logit_standardization=options.logit_standardization,
        )


def _before_last(answers: Tensor | TopK) -> Tensor | TopK:
    """Return the answers at all positions but the last, which has no next token."""
    if isinstance(answers, TopK):
        return TopK(answers.indices[:, :-1], answers.logits[:, :-1], answers.tail[:, :-1])
    return answers[:, :-1]
