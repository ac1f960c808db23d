"""Measures the process's peak memory during a piece of work."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # see proc(5), clear_refs
SAMPLE_SECONDS = 0.01


class PeakMemory:
    """Context manager that measures the process's peak resident memory inside the context.

    The peak is that of the whole process, not the part that the work added. Linux records the exact
    peak (VmHWM), which is reset on entry and read on exit. On other systems a thread samples the
    resident memory every 10 ms, and may miss a shorter peak. Contexts may be nested.

    Attributes
    ----------
    bytes : the peak in bytes; 0 until the context ends.
    """

    _open: ClassVar[list[PeakMemory]] = []

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._sampler: threading.Thread | None = None

    def __enter__(self) -> Self:
        _settle(PeakMemory._open)
        if _reset_peak():
            PeakMemory._open.append(self)
        else:
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._sampler is not None:
            self._stop.set()
            self._sampler.join()
            return
        try:
            _settle(PeakMemory._open)
        except OSError:
            if kind is None:  # otherwise it would hide the work's own error
                raise
        finally:
            PeakMemory._open.remove(self)

    def _sample(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            self.bytes = max(self.bytes, process.memory_info().rss)
            if self._stop.wait(SAMPLE_SECONDS):
                return


def _settle(contexts: list[PeakMemory]) -> None:
    """Save the peak so far in all open contexts, since an inner context resets it."""
    if contexts:
        peak = _peak()
        for each in contexts:
            each.bytes = max(each.bytes, peak)


def _reset_peak() -> bool:
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:  # not Linux, or a container that refuses it
        return False
    return True


def _peak() -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} has no VmHWM.")
