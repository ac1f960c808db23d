"""The clocks that calls are timed by."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives nanoseconds."""
_FINEST = 1e-6
"""Seconds to which a clock must be exact."""


def own_clock(threads: int) -> Clock:
    """Return the clock for models that compute in the calling thread and `threads` - 1 others.

    With one thread it is that thread's CPU time: the time of processes that interrupt it doesn't
    count, so that a call takes as long on a shared machine as on a quiet one, as far as they leave
    it its caches. Several threads wait for one another, and only the clock on the wall sees that.
    A system whose CPU time is coarse (Windows counts 16 ms) has the clock on the wall too.
    """
    return time.thread_time_ns if threads == 1 and _is_fine("thread_time") else time.perf_counter_ns


def process_clock(threads: int) -> Clock:
    """Return the same for a runtime that computes in a thread of its own, as OpenVINO may."""
    return (
        time.process_time_ns if threads == 1 and _is_fine("process_time") else time.perf_counter_ns
    )


def _is_fine(name: str) -> bool:
    # mypy knows the names as literals only.
    return time.get_clock_info(name).resolution <= _FINEST  # type: ignore[arg-type]
