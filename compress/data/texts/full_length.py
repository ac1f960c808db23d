"""Texts as long as they may be, made of the tokens that they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.batch import ATTENTION_MASK

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.context import Batch


def filled_up(inputs: Batch, *, length: int | None = None) -> Batch:
    """Texts whose padding is replaced by their own tokens, again and again.

    Models count positions of real tokens only: what padding alone fills says nothing of them. A
    text without tokens stays as it is.

    Parameters
    ----------
    inputs : of texts (N, S), with their attention mask.
    length : of the texts that are made; S by default.
    """
    mask = inputs[ATTENTION_MASK].bool()
    count = length or mask.shape[1]
    return {
        name: _repeated(values, mask, count) if values.shape == mask.shape else values
        for name, values in inputs.items()
    }


def _repeated(values: Tensor, mask: Tensor, count: int) -> Tensor:
    import torch

    rows = []
    for row, real in zip(values, mask, strict=True):
        own = row[real] if bool(real.any()) else row
        rows.append(own.repeat(-(-count // len(own)))[:count])
    return torch.stack(rows)
