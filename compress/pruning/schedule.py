"""Pruning step by step, with training between the steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from compress.core.options import Options
from compress.training.options import TrainingOptions

Curve = Literal["linear", "cubic"]


class Schedule(Options):
    """The cut comes in several steps, with training after each."""

    steps: int = Field(default=4, ge=2, le=100)
    """How many."""
    curve: Curve = "cubic"
    """How much is gone after each: `linear` the same each time; `cubic` much at first and little at
    the end (Zhu & Gupta, "To prune, or not to prune", 2017, arXiv:1710.01878)."""
    training: TrainingOptions = TrainingOptions(epochs=1)
    """After each step but the last, which the recovery follows; losses and teacher are the
    recovery's."""

    def progress(self) -> Iterator[float]:
        """How much of all that is to go is gone after each step: rising to 1."""
        for step in range(1, self.steps + 1):
            time = step / self.steps
            yield time if self.curve == "linear" else 1 - (1 - time) ** 3


def step_fraction(target: float, *, progress: float, remaining: float) -> float:
    """What a step leaves of the model that it is given.

    Parameters
    ----------
    target : the fraction of the first model that remains in the end.
    progress : how much of what is to go is gone after this step.
    remaining : the fraction of the first model that this step is given.
    """
    return (1 - (1 - target) * progress) / remaining


def step_ratio(ratio: float, *, before: float, after: float) -> float:
    """What a step removes of the units that it is given, so that in all `ratio` goes.

    Parameters
    ----------
    ratio : of the first model's units that is removed in the end.
    before, after : how much of what is to go is gone before and after this step.
    """
    return 1 - (1 - ratio * after) / (1 - ratio * before)


def step_ratios(ratios: Mapping[str, float], *, before: float, after: float) -> dict[str, float]:
    """`step_ratio` of each pattern."""
    return {
        pattern: step_ratio(ratio, before=before, after=after) for pattern, ratio in ratios.items()
    }
