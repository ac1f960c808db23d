"""Chooses the rank of each layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from compress.errors import TargetError
from compress.factorization.layers import MatrixLayer
from compress.factorization.options import Quantity
from compress.factorization.spectrum import Spectrum

TOLERANCE = 0.02
"""Relative distance from the target within which it counts as met."""
_HALVINGS = 200


class Goal(NamedTuple):
    """A target, and the whole model's amount of its quantity.

    Attributes
    ----------
    fraction : fraction of the whole that remains.
    whole : parameters, or MACs of one sample, of the whole model.
    """

    quantity: Quantity
    fraction: float
    whole: int

    @property
    def most(self) -> float:
        """The largest amount that may remain."""
        return self.fraction * self.whole


def ranks_by_ratio(layers: Sequence[MatrixLayer], ratio: float) -> list[int]:
    """Return for each layer the largest rank that removes at least `ratio` of its weights.

    No rank is smaller than the layer's step.
    """
    wanted = [(1 - ratio) * layer.weights / layer.of_rank for layer in layers]
    return [
        max(layer.step, min(_down(rank, layer.step), _down(layer.largest, layer.step)))
        for layer, rank in zip(layers, wanted, strict=True)
    ]


def ranks_by_energy(
    layers: Sequence[MatrixLayer], spectra: Sequence[Spectrum], energy: float
) -> list[int | None]:
    """Return the smallest ranks that keep that energy; None for layers that don't get smaller."""
    ranks: list[int | None] = []
    for layer, found in zip(layers, spectra, strict=True):
        enough = (found.lost() <= 1 - energy + 1e-12).nonzero()[0].item()
        rank = max(layer.step, math.ceil(enough / layer.step) * layer.step)
        ranks.append(rank if rank <= layer.largest else None)
    return ranks


def ranks_by_target(
    layers: Sequence[MatrixLayer],
    spectra: Sequence[Spectrum],
    goal: Goal,
    *,
    effects: Sequence[float] | None = None,
) -> list[int | None]:
    """Return the ranks with the least total loss at which the model meets the target.

    A layer's loss is the fraction of its energy that is lost, times its effect. All layers are cut
    until the next rank would lose equally much for each parameter (or MAC) that it saves, which is
    the optimum by Lagrange multiplier. The rest of the budget goes to the layers where it helps
    most.

    Parameters
    ----------
    effects : see `compress.factorization.effects`; None if all layers have the same.

    Returns
    -------
    The rank of each layer; None for a layer that stays whole.

    Raises
    ------
    TargetError : the target can't be met within `TOLERANCE`; the message gives the least that can.
    """
    options = [_Options(layer, goal.quantity) for layer in layers]
    weights = effects or [1.0] * len(layers)
    losses = [
        option.losses(found) * weight
        for option, found, weight in zip(options, spectra, weights, strict=True)
    ]
    require_reachable(layers, goal)
    costs = [option.costs for option in options]
    fixed = goal.whole - sum(int(cost[-1]) for cost in costs)
    chosen = _spread(costs, losses, budget=goal.most - fixed)
    if _far_below(reached := fixed + _spent(costs, chosen), goal):
        # Few and narrow layers allow only coarse steps: a sum above the target may be nearer.
        chosen = _spread(costs, losses, budget=(1 + TOLERANCE) * goal.most - fixed)
        if _far_below(fixed + _spent(costs, chosen), goal):
            raise TargetError(
                f"target {goal.quantity}: {goal.fraction:g} can't be met within {TOLERANCE:.0%}. "
                f"The nearest below is {reached / goal.whole:.4f}: the layers that can be split "
                "are few or narrow."
            )
    return [option.ranks[index] for option, index in zip(options, chosen, strict=True)]


def require_reachable(layers: Sequence[MatrixLayer], goal: Goal) -> None:
    """Compare a goal with the amount that remains with each layer's smallest rank.

    Raises
    ------
    TargetError : more than the goal remains; the message says how much.
    """
    options = [_Options(layer, goal.quantity) for layer in layers]
    least = goal.whole - sum(int(o.costs[-1] - o.costs[0]) for o in options)
    if least > goal.most:
        raise TargetError(
            f"target {goal.quantity}: {goal.fraction:g} can't be met: with the smallest rank in "
            f"every layer that can be split {least / goal.whole:.4f} of the model's "
            f"{goal.quantity} remain. The rest is in layers that stay whole."
        )


def probing_ranks(layers: Sequence[MatrixLayer], goal: Goal) -> list[int]:
    """Return the ranks that would meet a goal if all layers lost the same fraction."""
    splittable = sum(int(_Options(layer, goal.quantity).costs[-1]) for layer in layers)
    return ranks_by_ratio(layers, min(1.0, (goal.whole - goal.most) / splittable))


class _Options:
    """The ranks that a layer can have and the cost of each; the whole layer (None) is the last."""

    def __init__(self, layer: MatrixLayer, quantity: Quantity) -> None:
        each = layer.positions if quantity == "macs" else 1
        steps = list(range(layer.step, layer.largest + 1, layer.step))
        self.ranks: list[int | None] = [*steps, None]
        self.costs = torch.tensor([*(rank * layer.of_rank for rank in steps), layer.weights])
        self.costs = self.costs.double() * each

    def losses(self, found: Spectrum) -> Tensor:
        """Return the fraction of the energy that is lost with each option, (options,) float64."""
        lost = found.lost()
        return torch.stack([lost[-1] * 0 if r is None else lost[r] for r in self.ranks])


def _spread(costs: Sequence[Tensor], losses: Sequence[Tensor], *, budget: float) -> list[int]:
    """Return an option for each layer, so that costs stay in the budget and losses are small."""

    def choose(price: float) -> list[int]:
        pairs = zip(costs, losses, strict=True)
        return [int((loss + price * cost).argmin()) for cost, loss in pairs]

    budget += 0.5  # costs are whole numbers, and sums of floats nearly so
    low, high = 0.0, max(float(loss[0]) for loss in losses) / min(float(c[0]) for c in costs)
    high = max(high, 1e-30)
    while _spent(costs, choose(high)) > budget:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _spent(costs, choose(middle)) <= budget:
            high = middle
        else:
            low = middle
    chosen = choose(high)
    while (better := _best_rise(costs, losses, chosen, budget - _spent(costs, chosen))) is not None:
        layer, index = better
        chosen[layer] = index
    return chosen


def _spent(costs: Sequence[Tensor], chosen: Sequence[int]) -> float:
    return sum(float(cost[index]) for cost, index in zip(costs, chosen, strict=True))


def _far_below(reached: float, goal: Goal) -> bool:
    return reached < (1 - TOLERANCE) * goal.most


def _best_rise(
    costs: Sequence[Tensor], losses: Sequence[Tensor], chosen: Sequence[int], left: float
) -> tuple[int, int] | None:
    """Return the layer and the option with the most gain for their cost, within the budget left."""
    best, found = 0.0, None
    for number, (cost, loss, index) in enumerate(zip(costs, losses, chosen, strict=True)):
        more, gain = cost[index + 1 :] - cost[index], loss[index] - loss[index + 1 :]
        rate = torch.where(more <= left, gain / more.clamp_min(1e-9), torch.zeros_like(gain))
        if len(rate) and float(rate.max()) > best:
            best, found = float(rate.max()), (number, index + 1 + int(rate.argmax()))
    return found


def _down(rank: float, step: int) -> int:
    """Return the largest multiple of the step that isn't above `rank`."""
    return int(rank // step) * step
