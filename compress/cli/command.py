"""Runs the command: what was asked for, errors on stderr, and an exit code.

Exit codes: 0 passed, 1 a gate failed, 2 the recipe or the command line is wrong, 3 the run failed,
130 interrupted.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Sequence
from typing import NoReturn

import typer

from compress.cli.app import DEBUG, app
from compress.core.shown import one_line
from compress.errors import CompressError, RecipeError
from compress.training.processes import end, launched

WRONG, FAILED, INTERRUPTED = 2, 3, 130
_UNTIL_ENDED = 5.0
"""Seconds in which a launcher ends the other processes when one has failed."""

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The `compress` command.

    Parameters
    ----------
    arguments : without the program's name; those of the process by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # an ASCII-only terminal gets "?" rather than a crash
            stream.reconfigure(errors="replace")
    code = _run(given)
    if code == INTERRUPTED:
        # A KeyboardInterrupt that passed through an `exec` (a dataclass being made, say) leaves a
        # flag by which CPython ends with -SIGINT whatever the exit code; a new `exec` clears it.
        exec("")  # noqa: S102
    if launched().count > 1:
        end(code)
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    """Returns the exit code."""
    debug = DEBUG in arguments
    try:
        code = app(args=arguments, prog_name="compress", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except RecipeError as error:
        _say(error.problems, debug=debug)
        return error.exit_code
    except CompressError as error:
        _say([str(error)], debug=debug)
        return error.exit_code
    except _UsageError as error:
        _say([error.format_message() if hasattr(error, "format_message") else str(error)])
        return WRONG
    except Exception as error:  # noqa: BLE001 (the one place: a user gets a line, not a traceback)
        _say([f"{type(error).__name__}: {error}"], debug=debug)
        if not debug:
            typer.echo(f"Run again with {DEBUG} for the traceback.", err=True)
        return FAILED


def _say(problems: Sequence[str], *, debug: bool = False) -> None:
    """One line each; in front of them the traceback of the exception at hand, with --debug.

    What is wrong in one process is mostly wrong in all, or follows from another's end: any but the
    first waits for the launcher to end it, and speaks only if that doesn't happen.
    """
    processes = launched()
    if not processes.first:
        time.sleep(_UNTIL_ENDED)
        problems = [f"process {processes.index}: {problem}" for problem in problems]
    if debug:
        typer.echo(traceback.format_exc(), err=True)
    for problem in problems:
        typer.echo(f"error: {one_line(problem)}", err=True)
