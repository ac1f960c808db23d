"""Fills texts up to their full length with their own tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.batch import ATTENTION_MASK

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.context import Batch


def filled_up(inputs: Batch, *, length: int | None = None) -> Batch:
    """Replace the padding of texts by their own tokens, repeated as often as needed.

    Models count positions of real tokens only, so padding doesn't test a model's later positions. A
    text without tokens stays as it is.

    Parameters
    ----------
    inputs : inputs of texts, (N, S) or (N, C, S), with their attention mask.
    length : length of the new texts; S by default.
    """
    mask = inputs[ATTENTION_MASK].bool()
    count = length or mask.shape[-1]
    rows = mask.reshape(-1, mask.shape[-1])
    return {
        name: _repeated(values.reshape(rows.shape), rows, count).reshape(*mask.shape[:-1], count)
        if values.shape == mask.shape
        else values
        for name, values in inputs.items()
    }


def _repeated(values: Tensor, mask: Tensor, count: int) -> Tensor:
    import torch

    rows = []
    for row, real in zip(values, mask, strict=True):
        own = row[real] if bool(real.any()) else row
        rows.append(own.repeat(-(-count // len(own)))[:count])
    return torch.stack(rows)
