"""`compress report` and `compress compare`: show reports, and write them to files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from compress.cli.github import append_summary, summary_file
from compress.cli.running import stdout_console
from compress.core.files.atomic import write_text
from compress.core.files.named import require_folder, write_to
from compress.errors import InputError, clipped
from compress.report.comparison.compare import compare
from compress.report.comparison.documents import (
    comparison_html,
    comparison_json,
    comparison_markdown,
)
from compress.report.comparison.runs import read_runs
from compress.report.comparison.terminal import show_comparison
from compress.report.document import read_report
from compress.report.terminal import show
from compress.runner.reporting.write import rendered, write_again


def render_again(run: Path, *, output: Path | None, github: bool) -> None:
    """Show a report, and write report.md and report.html.

    Parameters
    ----------
    run : the folder of a run, or a report.json.
    output : the folder of the files; None: that of the report.
    github : also append it to the step summary of GitHub Actions.

    Raises
    ------
    InputError : there is no report, or the files can't be written.
    """
    report = read_report(run)
    summary = summary_file() if github else None
    folder = run if run.is_dir() else run.parent
    to = folder if output is None else output
    if output is None and write_again(report, folder):
        files = [folder / name for name in rendered(report)]
    else:
        files = []
        for name, text in rendered(report).items():
            files.append(to / name)
            try:
                to.mkdir(parents=True, exist_ok=True)
                write_text(to / name, text)
            except OSError as error:
                said = f"{clipped(str(to / name))} can't be written: {error.strerror}."
                raise InputError(said) from error
    if summary is not None:
        append_summary(report, summary)
    show(report, stdout_console())
    for file in files:
        typer.echo(f"written  {file}")


def compare_runs(
    runs: Sequence[Path], *, document: Path | None, markdown: Path | None, html: Path | None
) -> None:
    """Show runs side by side; write JSON, Markdown and HTML to the files that are named.

    Raises
    ------
    InputError : one of them is no run, or a file can't be written.
    """
    wanted = {
        "--json": (document, comparison_json),
        "--markdown": (markdown, comparison_markdown),
        "--html": (html, comparison_html),
    }
    for option, (file, _) in wanted.items():
        if file is not None:
            require_folder(option, file)
    found = compare(read_runs(runs))
    show_comparison(found, stdout_console())
    for option, (file, text_of) in wanted.items():
        if file is not None:
            write_to(option, file, text_of(found))
