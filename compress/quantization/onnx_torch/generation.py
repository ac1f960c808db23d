"""Inputs of a graph that generates text besides tokens and mask, as in `measurement.session`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from compress.core.batch import ATTENTION_MASK
from compress.measurement.session import PAST, POSITIONS, TOKENS


def supplied(name: str, shape: Sequence[int], given: Mapping[str, Tensor]) -> Tensor | None:
    """The value of an input that wasn't given: an empty cache, or positions that skip padding.

    Parameters
    ----------
    shape : the input's shape in the graph; 0 for a dynamic axis.
    given : the other inputs.

    Returns
    -------
    None if it doesn't follow from the other inputs.
    """
    if name.startswith(PAST) and given:
        first = next(iter(given.values()))
        return torch.zeros(len(first), shape[1], 0, shape[3], device=first.device)
    if name == POSITIONS and {TOKENS, ATTENTION_MASK} <= given.keys():
        mask = given[ATTENTION_MASK]
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        return places[:, mask.shape[1] - given[TOKENS].shape[1] :]
    return None
