"""A limit of time that parts of one piece of work share."""

from __future__ import annotations

import time


class Clock:
    """Seconds since it was made, and those that are left of a limit.

    Parameters
    ----------
    limit : seconds, above 0.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the clock was made."""
        return time.perf_counter() - self._start

    @property
    def left(self) -> float:
        """Seconds that are left; below 0 if the limit has passed."""
        return self.limit - self.seconds
