"""Random numbers that depend on keys only, and not on earlier draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniform(*keys: int | Tensor | np.ndarray[Any, Any]) -> Tensor:
    """Numbers in [0, 1), one for each combination of keys (SplitMix64; Steele et al., 2014).

    The same keys give the same number in any batch, order and process.

    Parameters
    ----------
    keys : integers, or integer arrays of shapes that broadcast.

    Returns
    -------
    float32, of the broadcast shape.
    """
    state: Any = np.uint64(0)
    with np.errstate(over="ignore"):
        for key in keys:
            state = _scrambled((state ^ np.asarray(key).astype(np.uint64)) + _GOLDEN)
    # A float32 below 1 holds 24 bits exactly.
    return torch.from_numpy(((state >> np.uint64(40)).astype(np.float32)) * np.float32(2**-24))


def _scrambled(state: Any) -> Any:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
