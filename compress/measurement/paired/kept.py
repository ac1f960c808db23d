"""The answers of a row that are kept in a small file, to compare models sample by sample."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from compress.core.batch import IGNORED
from compress.errors import InputError, StageError, clipped
from compress.measurement.paired.calibration import calibration_error
from compress.measurement.results import Quality

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_BYTES = 2**30
_ARRAYS = ("held", "draws", "predicted", "labels", "confidence")
_ABOUT = "about"


@dataclass(frozen=True, eq=False)
class KeptAnswers:
    """What is kept of a model's answers to the test split.

    Attributes
    ----------
    quality : the quality that they show.
    test_data : digest of the samples; empty if it isn't known.
    held : for a metric that is a fraction of samples, for which it holds, (M,) booleans.
    draws : for any other metric its values by the bootstrap's resamples, (R,); draw r has the same
        samples for every model. NaN where a resample has nothing that counts.
    predicted : the predicted class of each sample or token (P,) int32; or for sets of classes
        (P, C) int8, 1 for a class that is predicted. None for models that predict no classes.
    labels : the labels in the same form; -100 (for sets -1) where there is none. None if the data
        has none.
    confidence : probability of the predicted class (P,) float32, if a sample has one class.
    classes : names of the classes, in the order of their indices.
    """

    quality: Quality
    test_data: str = ""
    held: NDArray[np.bool_] | None = None
    draws: NDArray[np.floating[Any]] | None = None
    predicted: NDArray[np.integer[Any]] | None = None
    labels: NDArray[np.integer[Any]] | None = None
    confidence: NDArray[np.float32] | None = None
    classes: tuple[str, ...] = ()

    def require_draws(self) -> NDArray[np.floating[Any]]:
        """Return the draws.

        Raises
        ------
        StageError : there are none.
        """
        if self.draws is None:
            raise StageError(f"no bootstrap of {self.quality.metric} was kept.")
        return self.draws

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error; None if samples haven't one class each, or no labels."""
        if self.confidence is None or self.predicted is None or self.labels is None:
            return None
        known = self.labels != IGNORED
        if not known.any():
            return None
        return calibration_error(self.confidence[known], (self.predicted == self.labels)[known])

    @property
    def recall(self) -> dict[str, float]:
        """Fraction of each class's labels that the model predicts, by the class's name."""
        return {name: float(hits.mean()) for name, hits in self.hits().items()}

    def hits(self) -> dict[str, NDArray[np.bool_]]:
        """For each class, whether each of its labels is predicted; only classes with a label."""
        if self.predicted is None or self.labels is None:
            return {}
        found = {}
        of_sets = self.labels.ndim == 2
        for index, name in enumerate(self.classes):
            labels, said = (
                (self.labels[:, index] == 1, self.predicted[:, index] == 1)
                if of_sets
                else (self.labels == index, self.predicted == index)
            )
            if labels.any():
                found[name] = said[labels]
        return found

    def agreement(self, other: KeptAnswers) -> float | None:
        """Return the fraction of classes that both predict alike; None if they can't be compared.

        Of a set of classes, the whole set counts. Classes are the same if their names are.
        """
        ours, theirs = self.predicted, self._as_ours(other, other.predicted)
        if ours is None or theirs is None or ours.shape != theirs.shape or not len(ours):
            return None
        labels = self._as_ours(other, other.labels)
        if self.labels is None or labels is None:
            alike = self.labels is other.labels
        else:
            alike = np.array_equal(self.labels, labels)
        if not alike:  # such as the tokens of other vocabularies
            return None
        same = ours == theirs
        return float((same if same.ndim == 1 else same.all(1)).mean())

    def _as_ours(
        self, other: KeptAnswers, found: NDArray[np.integer[Any]] | None
    ) -> NDArray[np.integer[Any]] | None:
        """Return another model's classes by our indices; None if the names are others."""
        if found is None or self.classes == other.classes:
            return found
        if sorted(self.classes) != sorted(other.classes):
            return None
        if found.ndim == 2:
            return found[:, [other.classes.index(name) for name in self.classes]]
        places = np.array([self.classes.index(name) for name in other.classes])
        return np.where(found < 0, found, places[found])

    def to_bytes(self) -> bytes:
        """Return the file's content, which `from_file` reads."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        about = {
            "quality": asdict(self.quality),
            "test_data": self.test_data,
            "classes": list(self.classes),
        }
        present = {
            name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None
        }
        return save(present, metadata={_ABOUT: json.dumps(about)})


def from_file(path: Path) -> KeptAnswers:
    """Read kept answers.

    Raises
    ------
    InputError : the file is missing, too large, or isn't one that `KeptAnswers.to_bytes` gave.
    """
    said = clipped(str(path))
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise InputError(
                f"{said} has {size:,} bytes; kept answers have at most {MOST_BYTES:,}."
            )
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})[_ABOUT])
            names = set(file.keys())
            arrays = {name: file.get_tensor(name) for name in _ARRAYS if name in names}
        quality = about["quality"]
        return KeptAnswers(
            quality=Quality(**{**quality, "ci95": tuple(quality["ci95"])}),
            test_data=str(about["test_data"]),
            classes=tuple(map(str, about["classes"])),
            **arrays,
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{said} can't be read: {clipped(str(error))}.") from error
