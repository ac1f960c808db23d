"""Makes a batch of raw samples by stacking their arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from compress.errors import DataError, clipped


def stacked(samples: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """Return a batch of samples: for each field one tensor (N, …), float32 or int64.

    Raises
    ------
    DataError : a value isn't a number or an array of numbers, or its shape isn't the first's.
    """
    return {name: _stacked(name, [sample[name] for sample in samples]) for name in samples[0]}


def _stacked(name: str, values: Sequence[Any]) -> Tensor:
    arrays = [_numbers(name, value) for value in values]
    for array in arrays:
        if array.shape != arrays[0].shape:
            raise DataError(
                f"field {name!r} has the shapes {arrays[0].shape} and {array.shape} in one batch. "
                "Samples of one batch must have one shape."
            )
    batch = np.stack(arrays)
    wanted = np.float32 if batch.dtype.kind == "f" else np.int64
    return torch.from_numpy(np.ascontiguousarray(batch, dtype=wanted))


def _numbers(name: str, value: Any) -> np.ndarray[Any, Any]:
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"field {name!r} must be a number or an array of numbers. Got {clipped(repr(value))}."
        )
    return array
