"""Pins the process to fixed CPUs while it is timed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pinned(threads: int) -> Iterator[tuple[str, ...]]:
    """Run the calling thread, and threads that it starts, on the first `threads` allowed CPUs.

    ONNX Runtime's threads inherit this, so sessions must be made inside the context. At its end the
    CPUs allowed before are allowed again.

    Yields
    ------
    Notes, if the system can't pin or has fewer CPUs.
    """
    if sys.platform != "linux":
        yield (f"threads aren't pinned to CPUs: {sys.platform} can't.",)
        return
    allowed = os.sched_getaffinity(0)
    notes: tuple[str, ...] = ()
    if len(allowed) < threads:
        notes = (f"{threads} threads share {len(allowed)} CPUs: this process may use no more.",)
    os.sched_setaffinity(0, sorted(allowed)[:threads])
    try:
        yield notes
    finally:
        os.sched_setaffinity(0, allowed)
