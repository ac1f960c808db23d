"""AdaRound: each weight of a layer is rounded up or down so that the layer's answers change least.

Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020,
arXiv:2004.10568.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_STRETCH = (-0.1, 1.1)  # range of the sigmoid, so that it reaches 0 and 1
_WARM_UP = 0.2  # share of the steps without the penalty that pushes towards 0 and 1
_SHARPNESS = (20.0, 2.0)  # exponent of that penalty, from its first step to its last
_PUSH = 1.0
_LEARNING_RATE = 3e-2
_BATCH = 256
_HELD_OUT = 4  # one row in this many is held out


class Rows(NamedTuple):
    """Inputs and wanted outputs of a layer with G groups.

    Attributes
    ----------
    given : (G, R, inputs).
    wanted : (G, R, outputs), after the activation function.
    bias : (G, 1, outputs).
    limits : bounds of the activation function.
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
    """A layer's weight in units of its scale.

    Attributes
    ----------
    steps : (G, outputs, inputs), not rounded.
    scale : the scale of each weight.
    limit : largest absolute number of steps.
    fixed : True for weights that stay: the largest of each channel, which determines the scale.
    """

    steps: Tensor
    scale: Tensor
    limit: Tensor
    fixed: Tensor

    def nearest(self) -> Tensor:
        """The steps, each rounded to the nearest integer."""
        return self._limited(self.steps.round())

    def rounded(self, up: Tensor) -> Tensor:
        """The steps, each rounded down, plus `up` in [0, 1]."""
        return self._limited(self.steps.floor() + up)

    def _limited(self, steps: Tensor) -> Tensor:
        limited = torch.minimum(torch.maximum(steps, -self.limit), self.limit)
        return torch.where(self.fixed, self.steps.round(), limited)


class Rounded(NamedTuple):
    """The outcome for a layer.

    Attributes
    ----------
    steps : the rounded steps.
    before, after : mean squared errors on held-out rows, with nearest and optimised rounding.
    """

    steps: Tensor
    before: float
    after: float


def optimize_layer(
    grid: Grid, rows: Rows, *, iterations: int, generator: torch.Generator
) -> Rounded:
    """Round every weight up or down, or all to the nearest if that is no worse.

    Parameters
    ----------
    iterations : number of steps of Adam.
    generator : random generator of the rows' order.
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
    """The learned part in [0, 1] by which each weight is rounded up."""
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
