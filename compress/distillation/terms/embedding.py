"""The term for learning the teacher's embeddings of texts."""

from __future__ import annotations

from torch import Tensor

from compress.core.context import Batch, Pooling
from compress.distillation import losses
from compress.distillation.answers import Answers
from compress.distillation.options import Embedding
from compress.distillation.terms.sentence import embeddings, whole
from compress.distillation.terms.term import Term
from compress.errors import StageError
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
        ours, theirs = (whole(each).shape[-1] for each in (student, teacher))
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
        ours, theirs = (
            embeddings(each, batch, pooling=self._pooling) for each in (student, teacher)
        )
        if self._projection is not None:
            theirs = theirs.float() @ self._projection
        return {NAME: self._options.weight * losses.embedding_cosine(ours, theirs)}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        return {NAME: sample_count(batch)}
