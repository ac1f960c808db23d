"""`compress verify`: shows the checks of a bundle and returns the exit code."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table
from rich.text import Text

from compress.cli.running import stdout_console
from compress.core.shown import shown
from compress.errors import ExitCode
from compress.exporting.verify.apart import verify_apart

_STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def verify(folder: Path, *, call_seconds: float) -> int:
    """Show each check of a bundle as it is done.

    Returns
    -------
    The exit code: 0 if all checks passed (warnings included), 1 if a check failed.

    Raises
    ------
    InputError : the folder is no bundle.
    """
    console = stdout_console()
    counts = dict.fromkeys(_STYLES, 0)
    for check in verify_apart(folder, call_seconds=call_seconds):
        counts[check.status] += 1
        word = "FAILED" if check.status == "failed" else check.status
        line = Table.grid(padding=(0, 2, 0, 0))
        for width in (7, 7):
            line.add_column(width=width)
        line.add_row(Text(word, _STYLES[check.status]), Text(check.name), Text(shown(check.text)))
        console.print(line)
    failed, warned = counts["failed"], counts["warning"]
    more = f", {warned} warning{'s' if warned > 1 else ''}" if warned else ""
    verdict = f"{failed} check{'s' if failed > 1 else ''} failed" if failed else "all checks passed"
    console.print(Text(f"{shown(str(folder))}: {verdict}{more}"), soft_wrap=True)
    return ExitCode.CHECK_FAILED if failed else ExitCode.PASSED
