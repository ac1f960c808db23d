"""Pooling: makes one vector for a text from the vectors of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.context import Pooling


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


def pool(hidden: Tensor, attention_mask: Tensor, *, pooling: Pooling) -> Tensor:
    """The mean over unmasked tokens, or the first of them, which padding on the left may shift.

    Parameters
    ----------
    hidden, attention_mask : see `mean_pool`.

    Returns
    -------
    (N, H), in `hidden`'s dtype.
    """
    if pooling == "mean":
        return mean_pool(hidden, attention_mask)
    first: Tensor = hidden.gather(
        1, attention_mask.argmax(1)[:, None, None].expand(-1, -1, hidden.shape[-1])
    )
    return first.squeeze(1)
