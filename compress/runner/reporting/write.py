"""Writes a run's report in all formats, also for a run that failed or was interrupted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.foreign.boundary import described
from compress.errors import CompressError, InputError, clipped
from compress.report import document, html, markdown
from compress.runner.folder.marker import MARKER
from compress.runner.folder.workdir import Workdir

if TYPE_CHECKING:
    from compress.report.document import Report, Status

_MARKDOWN = "report.md"
REPORTS = (document.FILE_NAME, _MARKDOWN, html.FILE_NAME)
"""Names of the reports at the top of the run's folder."""
_SET = "reports"
_LONGEST = 2000
"""Characters of an error in a report."""


def write_reports(report: Report, workdir: Workdir) -> Report:
    """Write report.json, report.md and report.html.

    Returns
    -------
    The report as it was written, with notes on the folder.
    """
    for name in REPORTS:
        workdir.top.make_way(name)
    notes = [*report.notes, *(note for note in workdir.notes if note not in report.notes)]
    report = report.model_copy(update={"notes": notes})
    workdir.top.put(_SET, {document.FILE_NAME: report.to_json(), **rendered(report)})
    return report


def rendered(report: Report) -> dict[str, str]:
    """Return the texts that are made of a report, by the names of their files."""
    return {_MARKDOWN: markdown.markdown(report), html.FILE_NAME: html.html(report)}


def write_again(report: Report, folder: Path) -> bool:
    """Write a report that was read from the folder of a run; do nothing in any other folder.

    Returns
    -------
    Whether the folder is that of a run.

    Raises
    ------
    InputError : a run is writing to the folder.
    """
    if not (folder / MARKER).is_file():
        return False
    workdir = Workdir(folder)
    with workdir.open():
        write_reports(report, workdir)
    return True


def end_of(error: BaseException) -> tuple[Status, str | None]:
    """Return the status of a run that an error ended, and the sentence for its report."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", None
    if isinstance(error, CompressError):
        return "failed", clipped(" ".join(str(error).split()), most=_LONGEST)
    return "failed", described(error)


def write_broken(
    report: Report, workdir: Workdir, *, error: BaseException, unfinished: Path | None
) -> None:
    """Write the report of a run that an error ended. An error while writing doesn't hide it.

    Parameters
    ----------
    error : the error that ended the run; it gets a note if the report can't be written.
    unfinished : the folder of the stage at work. If writing fails, it is removed to make room; the
        next run would empty it anyway.
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
    """Set the status of a run's report to `interrupted`, as the run itself couldn't.

    This does nothing if there is no report, or if the run had ended by itself.

    Parameters
    ----------
    root : the folder of a run that this process keeps open, in a thread that does nothing more.

    Raises
    ------
    OSError : the report can't be written.
    """
    workdir = Workdir(root)
    try:
        report = document.read_report(root)
        workdir.join()
    except InputError:
        return
    if report.status in ("running", "failed"):
        ended = report.model_copy(update={"status": "interrupted", "error": None})
        write_reports(ended, workdir)
