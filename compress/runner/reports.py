"""Writes a run's report in all its forms, and what becomes of it where the run is broken."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.boundary import described
from compress.core.files import write_text
from compress.errors import CompressError, InputError, clipped
from compress.report.document import read_report, write_report
from compress.report.html import FILE_NAME, html
from compress.report.markdown import markdown
from compress.runner.workdir import Slot, Workdir

if TYPE_CHECKING:
    from compress.report.document import Report, Status

_LONGEST = 2000
"""Characters of an error in a report."""


def write_reports(report: Report, workdir: Workdir) -> None:
    """report.json, report.md, and report.html with what the stages left in their folders."""
    write_report(report, workdir.root)
    write_text(workdir.root / "report.md", markdown(report))
    folders = {row.index: workdir.folder(Slot(row.index, row.name)) for row in report.stages}
    write_text(workdir.root / FILE_NAME, html(report, folders=folders))


def end_of(error: BaseException) -> tuple[Status, str | None]:
    """The status of a run that an error ended, and the sentence that its report gives."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", None
    if isinstance(error, CompressError):
        return "failed", clipped(" ".join(str(error).split()), most=_LONGEST)
    return "failed", described(error)


def write_broken(
    report: Report, workdir: Workdir, *, error: BaseException, unfinished: Path | None
) -> None:
    """Write the report of a run that an error ended. Another one in here doesn't hide it.

    Parameters
    ----------
    error : what ended the run; gets a note where the report can't be written.
    unfinished : the folder of the stage at work. It goes where the disk is full of it: the next
        run empties it anyway.
    """
    try:
        write_reports(report, workdir)
    except OSError:
        if unfinished is not None:
            shutil.rmtree(unfinished, ignore_errors=True)
        try:
            write_reports(report, workdir)
        except OSError as second:
            error.add_note(f"The report couldn't be written either: {described(second)}")


def mark_interrupted(root: Path) -> None:
    """Let the report of a run that was broken without a chance to say so say `interrupted`.

    Nothing where there is none, or where the run had ended by itself.

    Parameters
    ----------
    root : the run's folder.

    Raises
    ------
    OSError : the report can't be written.
    """
    try:
        report = read_report(root)
    except InputError:
        return
    if report.status in ("running", "failed"):
        ended = report.model_copy(update={"status": "interrupted", "error": None})
        write_reports(ended, Workdir(root))
