"""What a training did, epoch by epoch, and the curve of its losses."""

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
    epoch : from 1.
    losses : each weighted part of the training loss, averaged over what it counts.
    validation : the score after it.
    learning_rate : at the epoch's last step.
    seconds : of the pass and its validation.
    """

    epoch: int
    losses: Mapping[str, float]
    validation: Score
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Point:
    """A point of the curves.

    Attributes
    ----------
    step : optimizer steps made so far.
    losses : each part, averaged since the point before.
    learning_rate : at that step.
    """

    step: int
    losses: Mapping[str, float]
    learning_rate: float


def write_history(epochs: Sequence[Epoch], curve: Sequence[Point], directory: Path) -> Path:
    """Write `training.json`; whole or not at all."""
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
