"""Searches how far outliers move from activations into weights, by the error in 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from compress.quantization.calibration.ranges import Range
from compress.quantization.grid import activation_grid, weight_levels
from compress.quantization.integers import Integers
from compress.quantization.smoothquant.inputs import Inputs

_LEAST = 1e-5
"""A channel is dead if its largest value is below this fraction of the largest of all channels."""
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class AlphaChoice:
    """The best alpha for one group of layers.

    Attributes
    ----------
    alpha : the best alpha; None to leave the layers as they are.
    scales : (channels,) the divisors of the activations.
    before, after : mean squared error of the layers' 8-bit outputs, relative to their mean square.
    """

    alpha: float | None
    scales: Tensor
    before: float
    after: float


def choose_alpha(
    inputs: Inputs,
    weights: Sequence[Tensor],
    *,
    index: Tensor,
    channels: int,
    alphas: Sequence[float],
    integers: Integers,
) -> AlphaChoice:
    """The alpha whose scales max|X|^alpha / max|W|^(1 - alpha) give the least error.

    Parameters
    ----------
    weights : (outputs, columns) of each layer that reads the inputs.
    index : (columns,) the channel of each column.
    """
    given = _largest(torch.maximum(inputs.low.abs(), inputs.high.abs()), index, channels)
    columns = torch.stack([weight.abs().amax(0) for weight in weights]).amax(0)
    read = _largest(columns, index, channels)
    alive = (given > _LEAST * given.max()) & (read > _LEAST * read.max())
    best = AlphaChoice(None, torch.ones(channels), *(2 * [_error(inputs, weights, None, integers)]))
    for alpha in alphas:
        scales = torch.where(alive, given**alpha / read ** (1 - alpha), 1.0)
        # A common factor changes nothing in 8 bits; dividing by it keeps the numbers' magnitude.
        scales = torch.where(alive, scales / scales[alive].log().mean().exp(), 1.0)
        error = _error(inputs, weights, scales[index], integers)
        if error < best.after:
            best = AlphaChoice(alpha, scales, best.before, error)
    return best


def _largest(values: Tensor, index: Tensor, channels: int) -> Tensor:
    return torch.zeros(channels).scatter_reduce(0, index, values, "amax")


def _error(
    inputs: Inputs, weights: Sequence[Tensor], scales: Tensor | None, integers: Integers
) -> float:
    """Mean over the layers of |Q(X / s) Q(W s)' - X W'|^2 / |X W'|^2."""
    by = torch.ones_like(inputs.low) if scales is None else scales
    bounds = float((inputs.low / by).min()), float((inputs.high / by).max())
    rows = _quantized_rows(inputs.rows / by, bounds, integers)
    total = 0.0
    for weight in weights:
        wanted = inputs.rows @ weight.T
        got = rows @ _quantized_weight(weight * by, integers).T
        total += float((got - wanted).square().sum() / wanted.square().sum().clamp_min(_TINY))
    return total / len(weights)


def _quantized_rows(rows: Tensor, bounds: Range, integers: Integers) -> Tensor:
    """Activations, rounded to their common grid."""
    scale, zero = activation_grid(bounds, integers=integers)
    least, most = (0, 255) if integers.activations == "uint8" else (-127, 127)
    levels = (rows / float(scale)).round().add(zero).clamp(least, most)
    return levels.sub(zero).mul(float(scale))


def _quantized_weight(weight: Tensor, integers: Integers) -> Tensor:
    """A weight (outputs, columns), rounded to its grids, one for each output."""
    levels = weight_levels(integers)
    scale = weight.abs().amax(1, keepdim=True) * 2 / levels
    scale = torch.where(scale > 0, scale, 1.0)
    return (weight / scale).round().clamp(-levels / 2, levels / 2) * scale
