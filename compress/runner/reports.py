"""Writes a run's report in all its forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.core.files import write_text
from compress.report.document import write_report
from compress.report.html import FILE_NAME, html
from compress.report.markdown import markdown
from compress.runner.workdir import Slot

if TYPE_CHECKING:
    from compress.report.document import Report
    from compress.runner.workdir import Workdir


def write_reports(report: Report, workdir: Workdir) -> None:
    """report.json, report.md, and report.html with what the stages left in their folders."""
    write_report(report, workdir.root)
    write_text(workdir.root / "report.md", markdown(report))
    folders = {row.index: workdir.folder(Slot(row.index, row.name)) for row in report.stages}
    write_text(workdir.root / FILE_NAME, html(report, folders=folders))
