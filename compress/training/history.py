"""What a training did, epoch by epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "training.json"


@dataclass(frozen=True)
class Epoch:
    """One pass over the training split.

    Attributes
    ----------
    epoch : from 1.
    losses : each weighted part of the training loss, averaged over the epoch's samples.
    validation_accuracy : in [0, 1].
    validation_loss : cross-entropy.
    learning_rate : at the epoch's last step.
    seconds : of the pass and its validation.
    """

    epoch: int
    losses: Mapping[str, float]
    validation_accuracy: float
    validation_loss: float
    learning_rate: float
    seconds: float


def write_history(history: Sequence[Epoch], directory: Path) -> Path:
    """Write `training.json`; whole or not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE_NAME
    aside = path.with_suffix(".partial")
    document = {"schema": 1, "epochs": [asdict(epoch) for epoch in history]}
    aside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)
    return path
