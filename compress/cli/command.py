"""Runs the command, reports errors on stderr, and returns an exit code."""

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
    """Run the command with these words; return the exit code.

    Raises
    ------
    KeyboardInterrupt : it was interrupted, possibly before another error.
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
    """Run the subcommand, not through `app()`, which gives interrupts its own exit codes."""
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
    """Print the error; return the exit code."""
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
    """Return the message for an unexpected exception, with the path of its log."""
    log = keep_log(error, arguments, call.folder)
    more = f"Run again with {DEBUG} for the traceback." if log is None else f"Its log is {log}."
    said = without_secrets(described(error)).rstrip(".")
    return f"This is a fault of compress, not of your recipe: {said}. {more}"


def _say(problems: Sequence[str], shown: BaseException | None) -> None:
    """Print one line for each problem, after the traceback of `shown` if there is one.

    An error of one process mostly occurs in all, or follows from the end of another. So every
    process but the first waits for the launcher to end it, and prints only if that doesn't happen.
    """
    processes = launched()
    if not processes.first:
        time.sleep(_UNTIL_ENDED)
        problems = [f"process {processes.index}: {problem}" for problem in problems]
    if shown is not None:
        typer.echo("".join(traceback.format_exception(shown)), err=True)
    for problem in problems:
        typer.echo(f"error: {one_line(problem)}", err=True)
