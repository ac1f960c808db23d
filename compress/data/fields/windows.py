"""Which windows a split holds, for tasks that cut long samples into several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.foreign.boundary import foreign
from compress.data.fields.grouped import GroupedRows
from compress.data.rows import LABEL_CHUNK, Indices, JoinedRows
from compress.errors import DataError

if TYPE_CHECKING:
    from compress.core.artifact import Preprocessor
    from compress.data.splits import Samples
    from compress.tasks.contract import Task

Fetch = Callable[[Indices], Sequence[Mapping[str, Any]]]
"""A function from positions in a split to its samples."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of a split's samples, one sample after another.

    Attributes
    ----------
    ends : (N,) int64, for each sample the number of windows up to its last one.
    """

    ends: Indices

    def __len__(self) -> int:
        """Number of windows in the split."""
        return int(self.ends[-1])

    def places(self, windows: Indices) -> tuple[Indices, Indices]:
        """The sample's position in the split, and the window's number in the sample, of each."""
        samples = np.searchsorted(self.ends, windows, side="right")
        starts = np.concatenate([[0], self.ends])[samples]
        return samples.astype(np.int64), windows - starts

    def whole(self, limit: int) -> int:
        """The least number of windows, from `limit` on, that cuts no sample off."""
        at = np.searchsorted(self.ends, limit, side="left")
        return int(self.ends[min(int(at), len(self.ends) - 1)])


def examined(
    task: Task, split: str, samples: Samples, fetch: Fetch, *, preprocessor: Preprocessor
) -> Windows:
    """Check each sample of a split, and count its windows.

    Memory grows by eight bytes a sample.

    Raises
    ------
    DataError : the task can't use a sample; the message names its row.
    """
    counts = np.ones(len(samples), np.int64)
    for start in range(0, len(samples), LABEL_CHUNK):
        positions = np.arange(start, min(start + LABEL_CHUNK, len(samples)), dtype=np.int64)
        for at, sample in zip(positions.tolist(), fetch(positions), strict=True):
            where = _place(samples, at, split)
            try:
                with foreign(f"{task.name} on a sample", error=DataError):
                    task.check_sample(sample, preprocessor=preprocessor)
                    counts[at] = task.windows(sample, preprocessor=preprocessor)
            except DataError as error:
                raise DataError(f"{where}: {error}") from error
            if counts[at] < 1:
                raise DataError(f"{where}: {task.name} cuts it into {counts[at]} windows.")
    return Windows(counts.cumsum())


def _place(samples: Samples, at: int, split: str) -> str:
    """The row of a sample in words."""
    rows, row = samples.rows, int(samples.indices[at])
    if isinstance(rows, JoinedRows) and row >= len(rows.first):
        return f"row {row - len(rows.first)} of split '{split}' of the other source"
    if isinstance(rows, GroupedRows):
        return rows.place(row)
    return f"row {row} of split '{split}'"
