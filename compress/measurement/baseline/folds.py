"""Scores of the train split by rivals that weren't trained on the samples that they score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import DataError
from compress.measurement.baseline.rival import labelled, scores_of, train_rival

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.progress import Progress
    from compress.measurement.baseline.inputs import RivalInputs

FOLDS = 4
"""Parts of the labelled samples; each is scored by a rival of the others (Stone, 1974)."""
SECONDS = 3600.0
"""Time of one core in which each training ends. It is so long that the time hardly ever decides."""


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Scores of all samples of the train split.

    Attributes
    ----------
    scores : (N, C) float32. A sample without a label has the mean of all rivals' scores.
    known : positions (M,) of the samples with a label.
    name : the rival's name.
    notes : what was left out to end in time.
    """

    scores: NDArray[np.float32]
    known: NDArray[np.int64]
    name: str
    notes: tuple[str, ...]


def out_of_fold(
    inputs: RivalInputs,
    *,
    classes: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> OutOfFold:
    """Train a rival on all folds but one, and score that one; for every fold.

    Parameters
    ----------
    inputs : the samples of a run's data.
    classes : number of classes, C.
    seed : decides the folds and the order of the samples.

    Raises
    ------
    DataError : fewer samples than folds have a label, or the samples can't be read.
    StageError : scikit-learn can't train on them.
    """
    labels = inputs.labels("train")
    known = np.asarray(labelled(labels), np.int64)
    if len(known) < FOLDS:
        raise DataError(
            f"a linear model that scores its own train split needs {FOLDS} samples with a label. "
            f"Got {len(known)}."
        )
    others = np.setdiff1d(np.arange(len(labels), dtype=np.int64), known)
    scores = np.zeros((len(labels), classes), np.float32)
    mixed = np.random.default_rng(seed).permutation(known)
    name, notes = "", dict[str, None]()
    for number in range(FOLDS):
        fold: NDArray[Any] = np.sort(mixed[number::FOLDS])
        rival = train_rival(
            inputs,
            classes=classes,
            seed=seed,
            seconds=SECONDS,
            progress=progress,
            among=np.setdiff1d(known, fold),
        )
        scores[fold] = scores_of(rival, inputs, split="train", positions=fold)
        if len(others):
            found = scores_of(rival, inputs, split="train", positions=others)
            scores[others] += found / FOLDS
        name = rival.name
        notes |= dict.fromkeys(rival.notes)
    return OutOfFold(scores, known, name, tuple(notes))
