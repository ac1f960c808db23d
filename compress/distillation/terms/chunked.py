"""Response and labels of a causal language model, a chunk of tokens at a time."""

from __future__ import annotations

from torch import Tensor

from compress.core.batch import IGNORED
from compress.core.context import Batch
from compress.distillation import losses
from compress.distillation.answers import Answers
from compress.distillation.hidden import LAST_HIDDEN
from compress.distillation.options import Labels, Response
from compress.distillation.terms import label, response
from compress.distillation.terms.term import Term, count, labels_of
from compress.errors import StageError


class ChunkedTerm(Term):
    """`ResponseTerm` and `LabelsTerm` in one, from the last hidden states of both models.

    Parameters
    ----------
    response_options : options whose `chunk_tokens` is set.
    labels_options : None for no labels loss.
    """

    runs_head = True

    def __init__(self, response_options: Response, labels_options: Labels | None) -> None:
        super().__init__()
        self._response, self._labels = response_options, labels_options

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        teacher_head, chunk_tokens = teacher.head, self._response.chunk_tokens
        if student.head is None or teacher_head is None or chunk_tokens is None:
            raise StageError("'chunk_tokens' needs the last hidden states of both models.")

        def divergence(logits: Tensor, teacher_hidden: Tensor) -> Tensor:
            return losses.token_divergence(
                logits,
                teacher_head(teacher_hidden),
                divergence=self._response.divergence,
                temperature=self._response.temperature,
                jsd_beta=self._response.jsd_beta,
            )

        states, targets = losses.shift(student.features[LAST_HIDDEN], labels_of(batch))
        mask = targets != IGNORED
        rows = (teacher.features[LAST_HIDDEN][:, :-1],)
        wanted = {response.NAME: losses.TokenLoss(divergence, rows, mask)}
        if self._labels is not None:
            wanted[label.NAME] = losses.TokenLoss(self._cross_entropy, (targets,), mask)
        found = losses.chunked(states, head=student.head, parts=wanted, chunk_tokens=chunk_tokens)
        return {name: self._weights()[name] * value for name, value in found.items()}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        tokens = count(labels_of(batch)[:, 1:] != IGNORED)
        return dict.fromkeys(self._weights(), tokens)

    def _cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        smoothing = self._labels.smoothing if self._labels else 0.0
        return losses.labels(logits, targets, label_smoothing=smoothing)

    def _weights(self) -> dict[str, float]:
        weights = {response.NAME: self._response.weight}
        return weights if self._labels is None else weights | {label.NAME: self._labels.weight}
