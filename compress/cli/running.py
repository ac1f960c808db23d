"""`compress recipe.yaml`: reads the recipe, runs it and shows its report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from compress.cli.github import append_summary, summary_file
from compress.errors import ExitCode
from compress.report.document import FILE_NAME, read_report
from compress.report.progress import progress_for
from compress.report.terminal import WIDTH, show
from compress.runner import pipeline
from compress.runner.reporting.write import mark_interrupted
from compress.training.distributed.processes import launched

if TYPE_CHECKING:
    from compress.cli.call import Call
    from compress.recipe.schema import Recipe

_CODES = {"passed": ExitCode.PASSED, "gate_failed": ExitCode.CHECK_FAILED}


def stdout_console() -> Console:
    """Return a console on stdout, 100 columns wide if stdout is no terminal."""
    terminal = sys.stdout is not None and sys.stdout.isatty()
    return Console(width=None if terminal else WIDTH, highlight=False)


def run_recipe(  # noqa: PLR0913 (each is read by name)
    recipe: Recipe,
    *,
    output: Path | None,
    device: str,
    threads: int | None,
    fresh: bool,
    python: bool,
    quiet: bool,
    github: bool = False,
    call: Call,
) -> int:
    """Run a checked recipe and show its report.

    If several processes were launched together, only the first shows anything.

    Parameters
    ----------
    github : also append the report to the step summary of GitHub Actions, however the run ends.

    Returns
    -------
    The exit code: 0 passed, 1 a gate failed.

    Raises
    ------
    KeyboardInterrupt : the run was interrupted; its report says so if it had begun.
    CompressError : the recipe's inputs are wrong, or the run failed.
    """
    first = launched().first
    quiet = quiet or not first
    folder = call.folder = recipe.output_folder(output)
    console = stdout_console()
    before = _identity(folder)
    summary = summary_file() if github and first else None

    def last_words() -> None:
        if first and _identity(folder) != before:  # it is this run's
            mark_interrupted(folder)

    call.interrupts.last_words = last_words
    try:
        report = pipeline.run(
            recipe,
            output=output,
            device=device,
            threads=threads,
            fresh=fresh,
            python=python,
            progress=call.interrupts.watched(progress_for(console, quiet=quiet)),
        )
    except BaseException:
        if call.interrupts.came is not None:  # though it may be another error that arrives here
            last_words()
        if summary is not None and _identity(folder) != before:
            append_summary(read_report(folder), summary)
        raise
    if summary is not None:
        append_summary(report, summary)
    if not quiet:
        console.print()
        show(report, console)
        for line in _results(folder):
            typer.echo(line)
    return _CODES.get(report.status, ExitCode.FAILED)


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return what tells one version of a run's report from another."""
    try:
        found = (folder / FILE_NAME).stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns


def _results(folder: Path) -> list[str]:
    model = folder / "model.onnx"
    bundle = str(model) if model.is_file() else "none: the recipe has no 'export' stage"
    return [f"bundle  {bundle}", f"report  {folder / 'report.html'}"]
