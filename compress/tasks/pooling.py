"""Pooling: makes one vector for a text from the vectors of its tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


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
