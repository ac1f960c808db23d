"""The embeddings of a batch's texts among a model's answers."""

from __future__ import annotations

from torch import Tensor

from compress.core.context import Batch, Pooling
from compress.distillation.answers import Answers
from compress.errors import StageError
from compress.tasks.pooling import mask_of, pool


def embeddings(answers: Answers, batch: Batch, *, pooling: Pooling) -> Tensor:
    """Return the embedding of each text, (N, H), made of its tokens' unless the model makes it."""
    values = whole(answers)
    if values.ndim == 2:
        return values
    return pool(values, mask_of(batch, values), pooling=pooling)


def whole(answers: Answers) -> Tensor:
    """Return a model's output.

    Raises
    ------
    StageError : a cache kept a part of it.
    """
    if not isinstance(answers.logits, Tensor):
        raise StageError("losses on embeddings need whole answers; 'top_k' keeps a part.")
    return answers.logits
