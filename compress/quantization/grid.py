"""The 8-bit grids of weights and activations, exactly as onnxruntime's quantizer makes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from compress.quantization.calibration import ranges
from compress.quantization.integers import Integers, Kind
from compress.quantization.onnx_torch import training

# Least and largest integer of a symmetric weight, in full and in reduced range.
_WEIGHTS: Mapping[tuple[Kind, bool], tuple[int, int]] = {
    ("int8", False): (-127, 127),
    ("int8", True): (-64, 64),
    ("uint8", False): (0, 255),
    ("uint8", True): (0, 127),
}
_ACTIVATIONS: Mapping[Kind, tuple[int, int]] = {"uint8": (0, 255), "int8": (-127, 127)}


def weight_levels(integers: Integers) -> int:
    """The difference between the largest and the least integer of a weight."""
    low, high = _WEIGHTS[integers.weights, integers.reduce_range]
    return high - low


def weight_zero(integers: Integers) -> int:
    """A weight's zero point."""
    low, high = _WEIGHTS[integers.weights, integers.reduce_range]
    return round((low + high) / 2)


def weight_scale(
    weight: NDArray[np.float32], *, axis: int | None, integers: Integers
) -> NDArray[np.float32]:
    """The symmetric scale of a weight, from its absolute maximum.

    onnxruntime makes a channel's scale larger where its bias would not fit into int32: see
    `onnx_torch.training.with_room_for_bias`.

    Parameters
    ----------
    axis : the axis of the channels; None for a single scale.

    Returns
    -------
    (C,) or (); 1 for a channel of zeros.
    """
    levels = weight_levels(integers)
    scale = training.weight_scale(torch.from_numpy(weight), axis=axis, levels=levels)
    return np.asarray(scale.numpy())


def activation_grid(bounds: ranges.Range, *, integers: Integers) -> tuple[np.float32, int]:
    """Scale and zero point for a range of activations, which is widened to hold 0."""
    low, high = min(0.0, float(np.float32(bounds[0]))), max(0.0, float(np.float32(bounds[1])))
    least, largest = _ACTIVATIONS[integers.activations]
    if integers.activations == "int8":
        high = max(-low, high)
        low = -high
    scale = (high - low) / (largest - least)
    if scale < np.finfo(np.float32).tiny:
        return np.float32(1), 0
    zero = 0 if integers.activations == "int8" else round(least - low / scale)
    return np.float32(scale), zero
