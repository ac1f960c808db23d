"""The encoded labels of a split's samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compress.core.batch import IGNORED
from compress.core.context import Target
from compress.data.rows import Indices

UNKNOWN_SET = -1.0
"""Every entry in the row of a sample whose set of classes is unknown."""


@dataclass(frozen=True, eq=False)
class Tags:
    """A class for each word of each sample, in one flat array.

    Attributes
    ----------
    values : (W,) class of each word; -100 for a word without one.
    starts : (N,) index in `values` of each sample's first word.
    lengths : (N,) number of each sample's words.
    """

    values: npt.NDArray[np.int64]
    starts: Indices
    lengths: Indices

    @classmethod
    def of(cls, rows: list[npt.NDArray[np.int64]]) -> Tags:
        """The tags of some samples, given as one array for each."""
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        values = np.concatenate(rows) if rows else np.zeros(0, np.int64)
        return cls(values, np.cumsum(lengths) - lengths, lengths)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.starts)

    def __getitem__(self, positions: Indices) -> Tags:
        """The tags of the samples at some positions."""
        return Tags(self.values, self.starts[positions], self.lengths[positions])

    def rows(self) -> list[npt.NDArray[np.int64]]:
        """The tags as one array for each sample."""
        return [
            self.values[start : start + length]
            for start, length in zip(self.starts, self.lengths, strict=True)
        ]


Targets = npt.NDArray[np.int64] | npt.NDArray[np.float32] | Tags
"""Encoded labels of N samples: classes (N,), sets of classes (N, C), or tags."""


def no_targets(count: int, *, target: Target, classes: int) -> Targets:
    """The encoded labels of samples that have no label.

    Parameters
    ----------
    classes : number of classes, for sets.
    """
    if target == "class-set":
        return np.full((count, classes), UNKNOWN_SET, np.float32)
    if target == "token-class":
        none = np.zeros(count, np.int64)
        return Tags(np.zeros(0, np.int64), none, none)
    return np.full(count, IGNORED, np.int64)


def join_targets(first: Targets, second: Targets) -> Targets:
    """The first labels, followed by the second."""
    if isinstance(first, Tags) and isinstance(second, Tags):
        return Tags(
            np.concatenate([first.values, second.values]),
            np.concatenate([first.starts, second.starts + len(first.values)]),
            np.concatenate([first.lengths, second.lengths]),
        )
    return np.concatenate([np.asarray(first), np.asarray(second)])


def classes_in(targets: Targets) -> int:
    """Number of different classes that occur."""
    if isinstance(targets, Tags):
        rows = targets.rows()
        return len(np.unique(np.concatenate(rows))) if rows else 0
    if targets.ndim == 2:
        return int((targets > 0).any(0).sum())
    return len(np.unique(targets))
