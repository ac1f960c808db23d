"""A limit of time that parts of one piece of work share.

The time is that of this thread on its core, so that other work on the machine doesn't decide how
much is trained on.
"""

from __future__ import annotations

import time


class Clock:
    """Seconds of work since it was made, and those that are left of a limit.

    Parameters
    ----------
    limit : seconds, above 0.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._start = time.thread_time()

    @property
    def seconds(self) -> float:
        """Seconds since the clock was made."""
        return time.thread_time() - self._start

    @property
    def left(self) -> float:
        """Seconds that are left; below 0 if the limit has passed."""
        return self.limit - self.seconds
