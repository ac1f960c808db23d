"""Shows the progress of a run: bars on a terminal, or lines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from compress.core.progress import Silent
from compress.core.shown import shown
from compress.report.words import duration

if TYPE_CHECKING:
    from compress.core.progress import Advance
    from compress.core.progress import Progress as Shown

PATIENCE_SECONDS = 2.0
"""Work that ends sooner isn't shown."""
LINE_SECONDS = 10.0
"""Least time between two lines about the same work, if stdout is no terminal."""
SILENCE_SECONDS = 60.0
"""Longest time without a line, as long as steps are made."""


def progress_for(console: Console, *, quiet: bool) -> Shown:
    """Return bars for a terminal, lines for a file or pipe, or a silent progress if quiet."""
    if quiet:
        return Silent()
    return Bars(console) if console.is_terminal else Lines(console)


def on_stderr() -> Shown:
    """Return bars or lines on stderr: what a run shows that was begun from Python."""
    return progress_for(Console(stderr=True, highlight=False), quiet=False)


class Bars:
    """A bar, with the time left, for each piece of work that takes longer than two seconds."""

    def __init__(self, console: Console, *, patience: float = PATIENCE_SECONDS) -> None:
        self._console = console
        self._patience = patience
        self._lock = threading.Lock()
        self._shown = 0
        self._bars = Progress(
            TextColumn("  {task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[info]}", markup=False),
            console=console,
            transient=True,
        )

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        """See `compress.core.progress.Progress.track`."""
        task = self._bars.add_task(description, total=total, visible=False, info="")
        # A timer shows the bar, as the first step alone may take long.
        timer = threading.Timer(self._patience, self._appear, (task,))
        timer.daemon = True
        timer.start()

        def advance(steps: int = 1, *, info: str = "") -> None:
            self._bars.update(task, advance=steps, info=info)

        try:
            yield advance
        finally:
            timer.cancel()
            self._end(task)

    def _appear(self, task: TaskID) -> None:
        with self._lock:
            if task not in self._bars.task_ids:
                return
            self._bars.update(task, visible=True)
            self._shown += 1
            if self._shown == 1:
                self._bars.start()

    def _end(self, task: TaskID) -> None:
        with self._lock:
            visible = any(known.visible for known in self._bars.tasks if known.id == task)
            self._bars.remove_task(task)
            self._shown -= visible
            if visible and self._shown == 0:
                self._bars.stop()

    def say(self, line: str) -> None:
        """See `compress.core.progress.Progress.say`."""
        self._console.print(Text(shown(line)))


class Lines:
    """A line whenever another tenth is done or a minute has passed, at most every ten seconds."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock

    @contextmanager
    def track(self, description: str, total: int) -> Iterator[Advance]:
        """See `compress.core.progress.Progress.track`."""
        start = said_at = self._clock()
        done = said_done = 0

        def advance(steps: int = 1, *, info: str = "") -> None:
            nonlocal done, said_at, said_done
            done += steps
            now = self._clock()
            waited = now - said_at
            tenth = (done - said_done) * 10 >= total
            if done < total and waited >= LINE_SECONDS and (tenth or waited >= SILENCE_SECONDS):
                left = duration((now - start) / done * (total - done)) if done else "unknown"
                words = f", {info}" if info else ""
                self.say(f"  {description}: {done}/{total}{words}, {left} left")
                said_at, said_done = now, done

        yield advance

    def say(self, line: str) -> None:
        """See `compress.core.progress.Progress.say`."""
        self._console.print(Text(shown(line)), soft_wrap=True)
        self._console.file.flush()
