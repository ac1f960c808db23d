"""When a sitting's rounds are enough, and when all sittings of a batch size are."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compress.measurement.latency.times import PILOT, Latencies

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.measurement.spec import MeasureSpec

NANOSECONDS_PER_MS = 1e6
MOST_SITTINGS, MOST_IN_A_SITTING = 60, 100
_PARTS = 20
"""A sitting takes at least this part of the time that there is, where loading is quick."""
_WARM_SECONDS = 0.1
"""Rounds that don't count end after this time, except for the first."""


class Rounds:
    """The rounds of one batch size, in sittings.

    Parameters
    ----------
    models : names of the models.
    sittings : smallest number of sittings.
    """

    def __init__(self, spec: MeasureSpec, *, models: Sequence[str], sittings: int) -> None:
        self._spec, self._models, self._fewest = spec, models, sittings
        self._least = math.ceil(spec.rounds / sittings)
        self._rows: list[NDArray[np.int64]] = []
        self._of: list[int] = []
        self._number, self._spent = -1, 0.0
        self._begun = self._length = 0.0
        self._warm = self._counted = 0
        self.ended = False

    @property
    def runs_ms(self) -> dict[str, NDArray[np.float64]]:
        """Milliseconds (R,) of each round, by model."""
        return dict(zip(self._models, np.stack(self._rows).T / NANOSECONDS_PER_MS, strict=True))

    @property
    def sittings(self) -> NDArray[np.int64]:
        """The sitting (R,) of each round."""
        return np.array(self._of)

    def sit(self, opening: float) -> None:
        """Begin a sitting, for which opening the models took so many seconds.

        Its rounds take about as long as the opening, or a twentieth of the time that there is.
        """
        self._number += 1
        self._warm = self._counted = 0
        self._begun = time.monotonic()
        self._spent += opening
        seconds = self._spec.seconds
        self._length = min(max(opening, seconds / _PARTS), seconds / PILOT)

    def warms(self) -> bool:
        """Return whether a round comes that doesn't count: the first, and more while quick."""
        quick = time.monotonic() < self._begun + _WARM_SECONDS
        return self._warm == 0 or (self._warm < self._spec.warmup and quick)

    def warmed(self) -> None:
        """Take note of a round that doesn't count."""
        self._warm += 1

    def goes_on(self) -> bool:
        """Return whether another round of this sitting comes; if not, decide on a next sitting."""
        passed = time.monotonic() - self._begun
        if self._counted < self._least or (
            self._counted < MOST_IN_A_SITTING and passed < self._length
        ):
            return True
        self._spent += passed
        self.ended = self._is_enough()
        return False

    def add(self, row: NDArray[np.int64]) -> None:
        """Keep a round's nanoseconds (models,)."""
        self._rows.append(row)
        self._of.append(self._number)
        self._counted += 1

    def _is_enough(self) -> bool:
        count = self._number + 1
        if count < self._fewest:
            return False
        if self._spent >= self._spec.seconds or count >= MOST_SITTINGS:
            return True
        if len(self._models) == 1:  # nothing to compare it with
            return self._spec.precision > 0
        so_far = Latencies({"": self.runs_ms}, {"": self.sittings})
        return count >= PILOT and 0 < so_far.half_width("") <= self._spec.precision
