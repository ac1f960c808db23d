"""The history of a training: its epochs, and the curve of its losses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from compress.training.validation.scores import Score

FILE_NAME = "training.json"


@dataclass(frozen=True)
class Epoch:
    """One pass over the training split.

    Attributes
    ----------
    epoch : number of the epoch, from 1.
    losses : each weighted part of the training loss, averaged over its samples or tokens.
    validation : the score after the epoch.
    learning_rate : the learning rate at the epoch's last step.
    seconds : time of the pass and its validation.
    """

    epoch: int
    losses: Mapping[str, float]
    validation: Score
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Point:
    """A point of the loss curve.

    Attributes
    ----------
    step : number of optimizer steps made so far.
    losses : each part, averaged since the previous point.
    learning_rate : the learning rate at that step.
    """

    step: int
    losses: Mapping[str, float]
    learning_rate: float


def write_history(epochs: Sequence[Epoch], curve: Sequence[Point], directory: Path) -> Path:
    """Write `training.json` atomically; returns its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE_NAME
    aside = path.with_suffix(".partial")
    document = {
        "schema": 2,
        "epochs": [asdict(epoch) for epoch in epochs],
        "curve": [asdict(point) for point in curve],
    }
    aside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)
    return path
