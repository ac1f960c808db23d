"""Runs the command: what was asked for, errors on stderr, and an exit code."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence

import typer

from compress.cli.app import DEBUG, app
from compress.cli.call import Call
from compress.cli.faults import keep_log, without_secrets
from compress.cli.interrupts import Interrupts
from compress.core.foreign.boundary import described
from compress.core.shown import one_line
from compress.errors import CompressError, ExitCode, RecipeError
from compress.training.distributed.processes import launched

_UNTIL_ENDED = 5.0
"""Seconds in which a launcher ends the other processes when one has failed."""

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def run_command(arguments: Sequence[str], interrupts: Interrupts) -> int:
    """Run it with these words; returns the exit code.

    Raises
    ------
    KeyboardInterrupt : it was interrupted, or had been when something else went wrong.
    """
    given, call = list(arguments), Call(interrupts)
    try:
        code = _run(given, call)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 (the one place: a user gets a line, not a traceback)
        interrupts.check()
        code = _tell(error, given, call)
    interrupts.check()
    return code


def _run(arguments: list[str], call: Call) -> int:
    """Not by way of `app()`, which makes exit codes of its own out of interrupts and pipes."""
    command = typer.main.get_command(app)
    try:
        with command.make_context("compress", arguments, obj=call) as context:
            command.invoke(context)
        code = int(ExitCode.PASSED)
    except typer.Exit as end:
        code = end.exit_code
    if sys.stdout is not None:
        sys.stdout.flush()
    return code


def _tell(error: BaseException, arguments: Sequence[str], call: Call) -> int:
    """Say what went wrong; returns the exit code."""
    debug = DEBUG in arguments
    match error:
        case RecipeError():
            code, problems = error.exit_code, list(error.problems)
        case CompressError():
            code, problems = error.exit_code, [str(error)]
        case _UsageError():
            said = error.format_message() if hasattr(error, "format_message") else str(error)
            code, problems, debug = ExitCode.WRONG_INPUT, [said], False
        case MemoryError():
            code, problems = ExitCode.FAILED, ["there isn't enough memory."]
        case _:
            code, problems = ExitCode.FAILED, [_fault(error, arguments, call)]
    _say([*problems, *getattr(error, "__notes__", ())], error if debug else None)
    return code


def _fault(error: BaseException, arguments: Sequence[str], call: Call) -> str:
    """What is said of an exception that nobody foresaw, and where more of it stands."""
    log = keep_log(error, arguments, call.folder)
    more = f"Run again with {DEBUG} for the traceback." if log is None else f"Its log is {log}."
    said = without_secrets(described(error)).rstrip(".")
    return f"This is a fault of compress, not of your recipe: {said}. {more}"


def _say(problems: Sequence[str], shown: BaseException | None) -> None:
    """One line each; in front of them the traceback of what is to be shown.

    What is wrong in one process is mostly wrong in all, or follows from another's end: any but the
    first waits for the launcher to end it, and speaks only if that doesn't happen.
    """
    processes = launched()
    if not processes.first:
        time.sleep(_UNTIL_ENDED)
        problems = [f"process {processes.index}: {problem}" for problem in problems]
    if shown is not None:
        typer.echo("".join(traceback.format_exception(shown)), err=True)
    for problem in problems:
        typer.echo(f"error: {one_line(problem)}", err=True)
