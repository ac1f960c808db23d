"""The command as a process: signals, streams, the exit code. Heavy imports come after these.

Exit codes: 0 passed, 1 a gate failed, 2 the recipe or the command line is wrong, 3 the run failed,
128 + the signal's number where one ended it: 130 for Ctrl-C, 141 for a closed pipe.
"""

from __future__ import annotations

import os
import signal
import sys

from compress.cli.interrupts import Interrupts, exit_code

TYPE_CHECKING = False  # as typing's, without importing it: an interrupt may come at any moment
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_STREAMS = ("stdin", "stdout", "stderr")
_WITHOUT_RESUMING = {
    *("bench", "check", "compare", "init", "report", "schema", "stages", "tasks", "verify"),
}


def run_process(arguments: Sequence[str] | None) -> NoReturn:
    """Run the command and end; see `compress.cli.main`."""
    interrupts = Interrupts()
    own = arguments is None
    try:
        try:
            code = _run(arguments, interrupts)
        finally:
            interrupts.settle()
    except KeyboardInterrupt:
        code = _interrupted(arguments, interrupts)
    if interrupts.came is not None:  # a library may have swallowed it, or made another error of it
        code = exit_code(interrupts.came)
    from compress.training.distributed.processes import end, launched

    if own or launched().count > 1:
        end(code)
    interrupts.restore()
    # A KeyboardInterrupt that passed through an `exec` (a dataclass being made, say) leaves a flag
    # by which CPython ends with -SIGINT whatever the exit code; a new `exec` clears it.
    exec("")  # noqa: S102
    sys.exit(code)


def _run(arguments: Sequence[str] | None, interrupts: Interrupts) -> int:
    own = arguments is None
    if own:
        _open_closed()
    interrupts.listen()
    from compress.training.distributed.processes import launched

    if not launched().first:  # whoever launched it ends it, at once
        interrupts.release(signal.SIGTERM, signal.SIGHUP)
    if own:
        from compress.cli.streams import guard

        guard(interrupts.strike)
    from compress.cli.command import run_command

    return run_command(sys.argv[1:] if arguments is None else arguments, interrupts)


def _open_closed() -> None:
    """Connect closed standard streams to the null device, before any file is opened.

    Otherwise the next opened file would get the number of a closed stream, and libraries would
    print into that file.
    """
    for number, name in enumerate(_STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, errors="replace", closefd=False))  # noqa: SIM115


def _interrupted(arguments: Sequence[str] | None, interrupts: Interrupts) -> int:
    """Print that it was interrupted. After a closed pipe only a run does, as its report stays."""
    from compress.training.distributed.processes import launched

    words = sys.argv[1:] if arguments is None else arguments
    resumes = not (words and words[0] in _WITHOUT_RESUMING)
    number = interrupts.came or signal.SIGINT
    if launched().first and (resumes or number != signal.SIGPIPE):
        more = " Run the same command again to resume." if resumes else ""
        sys.stderr.write(f"Interrupted.{more}\n")
    return exit_code(number)
