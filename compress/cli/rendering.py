"""`compress report`: renders a run's report again."""

from __future__ import annotations

from pathlib import Path

import typer

from compress.cli.running import stdout_console
from compress.core.files.atomic import write_text
from compress.errors import InputError, clipped
from compress.report.document import read_report
from compress.report.terminal import show
from compress.runner.reporting.write import rendered, write_again


def render_again(run: Path, *, output: Path | None) -> None:
    """Show a report, and write report.md and report.html.

    Parameters
    ----------
    run : the folder of a run, or a report.json.
    output : the folder of the files; None: that of the report.

    Raises
    ------
    InputError : there is no report, or the files can't be written.
    """
    report = read_report(run)
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
    show(report, stdout_console())
    for file in files:
        typer.echo(f"written  {file}")
