"""AdaRound: each weight of a layer is rounded up or down so that the layer's answers change least.

Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020,
arXiv:2004.10568.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_STRETCH = (-0.1, 1.1)  # of the sigmoid, so that it reaches 0 and 1
_WARM_UP = 0.2  # share of the steps without a push towards 0 and 1
_SHARPNESS = (20.0, 2.0)  # of that push, from its first step to the last
_PUSH = 1.0
_LEARNING_RATE = 3e-2
_BATCH = 256
_HELD_OUT = 4  # one row in so many only judges


class Rows(NamedTuple):
    """What a layer is given and should answer; G groups.

    Attributes
    ----------
    given : (G, R, inputs).
    wanted : (G, R, outputs), after the activation function.
    bias : (G, 1, outputs).
    limits : of the activation function.
    """

    given: Tensor
    wanted: Tensor
    bias: Tensor
    limits: tuple[float, float]

    def part(self, places: Tensor | slice) -> Rows:
        """Some of the rows."""
        return self._replace(given=self.given[:, places], wanted=self.wanted[:, places])

    def error(self, weight: Tensor) -> Tensor:
        """Mean squared difference of the answers with a weight (G, outputs, inputs)."""
        answers = torch.baddbmm(self.bias, self.given, weight.transpose(1, 2))
        return (answers.clamp(*self.limits) - self.wanted).square().mean()


class Grid(NamedTuple):
    """A layer's weight in steps of its scale.

    Attributes
    ----------
    steps : (G, outputs, inputs), not rounded.
    scale : to be multiplied with them.
    limit : largest absolute number of steps.
    fixed : those that stay as they are: each channel's largest, which makes the scale.
    """

    steps: Tensor
    scale: Tensor
    limit: Tensor
    fixed: Tensor

    def nearest(self) -> Tensor:
        """Each rounded to the nearest."""
        return self._limited(self.steps.round())

    def rounded(self, up: Tensor) -> Tensor:
        """Each rounded down, and a part in [0, 1] of the way up."""
        return self._limited(self.steps.floor() + up)

    def _limited(self, steps: Tensor) -> Tensor:
        limited = torch.minimum(torch.maximum(steps, -self.limit), self.limit)
        return torch.where(self.fixed, self.steps.round(), limited)


class Rounded(NamedTuple):
    """The outcome for a layer.

    Attributes
    ----------
    steps : whole numbers of steps.
    before, after : mean squared errors on held-out rows, nearest and optimised.
    """

    steps: Tensor
    before: float
    after: float


def optimize_layer(
    grid: Grid, rows: Rows, *, iterations: int, generator: torch.Generator
) -> Rounded:
    """Choose up or down for every weight; nearest stays where that is no better.

    Parameters
    ----------
    iterations : steps of Adam.
    generator : of the rows' order.
    """
    judged = max(1, rows.given.shape[1] // _HELD_OUT)
    held, learned = rows.part(slice(0, judged)), rows.part(slice(judged, None))
    nearest = grid.nearest()
    before = float(held.error(nearest * grid.scale))
    least = float(learned.error(nearest * grid.scale)) if learned.given.shape[1] else 0.0
    if least == 0:
        return Rounded(nearest, before, before)
    up = _learned(grid, learned, unit=least, iterations=iterations, generator=generator)
    steps = grid.rounded((up > 0.5).float())
    after = float(held.error(steps * grid.scale))
    return Rounded(steps, before, after) if after < before else Rounded(nearest, before, before)


def _learned(
    grid: Grid, rows: Rows, *, unit: float, iterations: int, generator: torch.Generator
) -> Tensor:
    """How far up each weight wants to go, in [0, 1]."""
    low, high = _STRETCH
    fraction = grid.steps - grid.steps.floor()
    variable = torch.logit((fraction - low) / (high - low)).requires_grad_()
    optimizer = torch.optim.Adam([variable], lr=_LEARNING_RATE)
    count = rows.given.shape[1]
    first = int(iterations * _WARM_UP)
    for step in range(iterations):
        places = torch.randint(count, (min(_BATCH, count),), generator=generator)
        up = _rectified(variable)
        loss = rows.part(places).error(grid.rounded(up) * grid.scale) / unit
        if step >= first:
            done = (step - first) / max(1, iterations - first)
            sharpness = _SHARPNESS[0] + (_SHARPNESS[1] - _SHARPNESS[0]) * done
            loss = loss + _PUSH * (1 - (2 * up - 1).abs().pow(sharpness)).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return _rectified(variable).detach()


def _rectified(variable: Tensor) -> Tensor:
    low, high = _STRETCH
    return (variable.sigmoid() * (high - low) + low).clamp(0, 1)
