"""What happened inside a stage: its training, and what it measured to decide."""

from __future__ import annotations

from compress.report.kept.part import Figure, Part


class LossPoint(Part):
    """A point of a training's loss curve."""

    step: int
    """Number of optimizer steps made so far."""
    losses: dict[str, Figure]
    """Each weighted part of the loss, averaged since the previous point."""


class EpochScore(Part):
    """The validation after one epoch."""

    epoch: int
    """Number of the epoch, from 1."""
    metric: str
    """Name of the figure that decides which epoch is kept."""
    figures: dict[str, Figure]
    """Figures by name; "loss" is always there."""


class Training(Part):
    """The course of a training."""

    curve: list[LossPoint]
    """Losses by optimizer step."""
    epochs: list[EpochScore]
    """Validation by epoch."""


class GroupCurve(Part):
    """The quality of a model as more of one group of units is removed."""

    name: str
    """Name of the group."""
    kind: str
    """Kind of its units, such as "heads"."""
    units: int
    """Number of its units."""
    ratios: list[float]
    """Fractions of the units that were removed."""
    quality: list[Figure]
    """Quality at each fraction."""
    divergence: list[Figure]
    """Divergence of the answers from the whole model's at each fraction."""


class Sensitivity(Part):
    """The sensitivity of a model to the removal of units, one group at a time."""

    metric: str
    """Name of the metric."""
    baseline: float
    """Quality with nothing removed."""
    samples: int
    """Number of samples that it was measured on."""
    groups: list[GroupCurve]
    """A curve for each group."""
