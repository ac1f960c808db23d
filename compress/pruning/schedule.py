"""Gradual pruning: several steps, with training between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from compress.core.options import Options
from compress.training.options import TrainingOptions

Curve = Literal["linear", "cubic"]


class Schedule(Options):
    """A cut in several steps, with training after each."""

    steps: int = Field(default=4, ge=2, le=100)
    """Number of steps."""
    curve: Curve = "cubic"
    """Progress of the cut over the steps: `linear` removes the same at each step; `cubic` removes
    much at first and little at the end (Zhu & Gupta, "To prune, or not to prune", 2017,
    arXiv:1710.01878)."""
    training: TrainingOptions = TrainingOptions(epochs=1)
    """Training after each step but the last, which the recovery follows. It uses the recovery's
    losses and teacher."""

    def progress(self) -> Iterator[float]:
        """Yield the fraction of the whole cut that is done after each step, rising to 1."""
        for step in range(1, self.steps + 1):
            time = step / self.steps
            yield time if self.curve == "linear" else 1 - (1 - time) ** 3


def step_fraction(target: float, *, progress: float, remaining: float) -> float:
    """The fraction of the model given to a step that remains after it.

    Parameters
    ----------
    target : the fraction of the first model that remains in the end.
    progress : the fraction of the whole cut that is done after this step.
    remaining : the fraction of the first model that remains before this step.
    """
    return (1 - (1 - target) * progress) / remaining


def step_ratio(ratio: float, *, before: float, after: float) -> float:
    """The fraction of the units given to a step that it removes, so that `ratio` goes in all.

    Parameters
    ----------
    ratio : the fraction of the first model's units that is removed in the end.
    before, after : fractions of the whole cut that are done before and after this step.
    """
    return 1 - (1 - ratio * after) / (1 - ratio * before)


def step_ratios(ratios: Mapping[str, float], *, before: float, after: float) -> dict[str, float]:
    """The `step_ratio` of each pattern."""
    return {
        pattern: step_ratio(ratio, before=before, after=after) for pattern, ratio in ratios.items()
    }
