"""`compress recipe.yaml`: the recipe, the run, and what is shown of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from compress.cli.interrupts import interruptible
from compress.recipe.load import load_recipe
from compress.report.progress import progress_for
from compress.report.terminal import WIDTH, show
from compress.training.processes import launched

PASSED, GATE_FAILED, FAILED, INTERRUPTED = 0, 1, 3, 130
_CODES = {"passed": PASSED, "gate_failed": GATE_FAILED}


def stdout_console() -> Console:
    """A console on stdout, 100 columns wide where that is no terminal."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


def run_recipe(
    path: Path,
    *,
    overrides: Sequence[str],
    output: Path | None,
    device: str,
    threads: int | None,
    fresh: bool,
    python: bool,
    quiet: bool,
) -> int:
    """Run a recipe and show its report.

    Of several processes that were launched together only the first shows anything.

    Returns
    -------
    The exit code: 0 passed, 1 a gate failed, 130 interrupted.

    Raises
    ------
    CompressError : the recipe is wrong, or the run failed.
    """
    recipe = load_recipe(path, overrides=overrides, python=python)
    first = launched().first
    quiet = quiet or not first
    folder = output or Path("exports") / recipe.name
    console = stdout_console()
    try:
        # Imported this late because it brings torch: a wrong recipe is told at once.
        from compress.runner import pipeline

        with interruptible(progress_for(console, quiet=quiet)) as progress:
            report = pipeline.run(
                recipe,
                output=output,
                device=device,
                threads=threads,
                fresh=fresh,
                python=python,
                progress=progress,
            )
    except KeyboardInterrupt:
        if first:
            typer.echo("Interrupted. Run the same command again to resume.", err=True)
        return INTERRUPTED
    if not quiet:
        console.print()
        show(report, console)
        for line in _results(folder):
            typer.echo(line)
    return _CODES.get(report.status, FAILED)


def _results(folder: Path) -> list[str]:
    model = folder / "model.onnx"
    bundle = str(model) if model.is_file() else "none: the recipe has no 'export' stage"
    return [f"bundle  {bundle}", f"report  {folder / 'report.md'}"]
