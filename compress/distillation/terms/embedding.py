"""The term for learning the teacher's embeddings of texts."""

from __future__ import annotations

from torch import Tensor

from compress.core.context import Batch, Pooling
from compress.distillation import losses
from compress.distillation.answers import Answers
from compress.distillation.options import Embedding
from compress.distillation.terms.term import Term
from compress.errors import StageError
from compress.tasks.pooling import mask_of, pool
from compress.training.batches import sample_count

NAME = "embedding"


class EmbeddingTerm(Term):
    """The term of `compress.distillation.options.Embedding`.

    Parameters
    ----------
    pooling : the way in which an embedding is made from those of the tokens.
    projection : (Ht, Hs) maps the teacher's embeddings into the student's space, and isn't trained;
        None: they have the same space.
    """

    reads_logits = True

    def __init__(
        self, options: Embedding, *, pooling: Pooling, projection: Tensor | None = None
    ) -> None:
        super().__init__()
        self._options, self._pooling = options, pooling
        self._projection: Tensor | None
        self.register_buffer("_projection", projection)

    def prepare(self, student: Answers, teacher: Answers) -> tuple[str, ...]:
        """Check the widths; see `Term`."""
        ours, theirs = (_whole(each).shape[-1] for each in (student, teacher))
        if self._projection is not None:
            theirs = self._projection.shape[1]
        if ours != theirs:
            raise StageError(
                f"'losses.embedding' needs embeddings as wide as the teacher's {theirs}, or a "
                f"student by 'static'. Got {ours}; use 'losses.relation'."
            )
        return ()

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        ours, theirs = (self._pooled(_whole(each), batch) for each in (student, teacher))
        if self._projection is not None:
            theirs = theirs.float() @ self._projection
        return {NAME: self._options.weight * losses.embedding_cosine(ours, theirs)}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        return {NAME: sample_count(batch)}

    def _pooled(self, values: Tensor, batch: Batch) -> Tensor:
        if values.ndim == 2:
            return values
        return pool(values, mask_of(batch, values), pooling=self._pooling)


def _whole(answers: Answers) -> Tensor:
    if not isinstance(answers.logits, Tensor):
        raise StageError("'losses.embedding' needs whole answers; 'top_k' keeps a part.")
    return answers.logits
