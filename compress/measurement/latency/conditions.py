"""Watches what else the machine does while models are timed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

_MINUTE = 0


@dataclass(frozen=True)
class MachineWatch:
    """The machine's and this process's CPU time when the watch began.

    Attributes
    ----------
    load : processes that ran or waited in the minute before, for each core; None if the system
        doesn't tell.
    """

    load: float | None
    _busy: float
    _own: float
    _start: float

    @classmethod
    def begin(cls) -> MachineWatch:
        """Return a watch that begins now."""
        cores = os.cpu_count() or 1
        load = os.getloadavg()[_MINUTE] / cores if hasattr(os, "getloadavg") else None
        return cls(load, _busy_seconds(), time.process_time(), time.monotonic())

    def others(self) -> float:
        """Fraction (0 to 1) of the machine's CPU time since then that other processes used."""
        cores = os.cpu_count() or 1
        wall = max(time.monotonic() - self._start, 1e-9)
        used = _busy_seconds() - self._busy - (time.process_time() - self._own)
        return min(max(used / (wall * cores), 0.0), 1.0)


def _busy_seconds() -> float:
    """CPU time of all cores that wasn't idle; a virtual machine's stolen time counts."""
    import psutil

    times = psutil.cpu_times()._asdict()
    # Linux counts a guest's time as user's too.
    ignored = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(value for name, value in times.items() if name not in ignored))
