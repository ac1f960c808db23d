"""Pooling: makes one vector for a text from the vectors of its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from compress.core.batch import ATTENTION_MASK

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.context import Pooling


_SHORTEST = 1e-12
"""Length by which shorter vectors are divided, as in sentence-transformers."""
_LOWEST = -3e4
"""What stands in place of padding among the values of which the largest is taken; fp16 holds it."""


def mean_pool(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over unmasked tokens (as sentence embeddings: Reimers & Gurevych, 2019).

    Parameters
    ----------
    hidden : (N, S, H).
    attention_mask : (N, S), 1 for a token and 0 for padding.

    Returns
    -------
    (N, H), in `hidden`'s dtype; zeros where every token is masked.
    """
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)


def mask_of(inputs: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
    """The attention mask among a model's inputs; without one every token of (N, S, H) counts."""
    mask = inputs.get(ATTENTION_MASK)
    return hidden.new_ones(hidden.shape[:2]) if mask is None else mask


def pool(hidden: Tensor, attention_mask: Tensor, *, pooling: Pooling) -> Tensor:
    """The mean over unmasked tokens, their maxima, or the first one, which padding may shift.

    Parameters
    ----------
    hidden, attention_mask : see `mean_pool`.

    Returns
    -------
    (N, H), in `hidden`'s dtype.
    """
    if pooling == "mean":
        return mean_pool(hidden, attention_mask)
    if pooling == "max":
        kept = attention_mask.unsqueeze(-1) > 0
        return hidden.masked_fill(~kept, _LOWEST).amax(1)
    first: Tensor = hidden.gather(
        1, attention_mask.argmax(1)[:, None, None].expand(-1, -1, hidden.shape[-1])
    )
    return first.squeeze(1)


def sentence_vectors(
    hidden: Tensor, attention_mask: Tensor, *, pooling: Pooling, normalize: bool
) -> Tensor:
    """The embedding of each text (N, H), made from its tokens' vectors.

    Parameters
    ----------
    hidden, attention_mask, pooling : see `pool`.
    normalize : whether vectors get length 1; one of length 0 stays as it is.
    """
    vectors = pool(hidden, attention_mask, pooling=pooling)
    if not normalize:
        return vectors
    lengths: Tensor = vectors.norm(dim=-1, keepdim=True).clamp(min=_SHORTEST)
    return vectors / lengths
