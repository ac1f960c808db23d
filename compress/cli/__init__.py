"""The command. `compress --help` imports nothing but its options."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, without importing it: an interrupt may come at any moment
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the `compress` command, and end the process.

    Parameters
    ----------
    arguments : the words after the program's name. By default those of the process; the command
        then also takes care of the process's standard streams.
    """
    try:
        from compress.cli.process import run_process
    except KeyboardInterrupt:  # before there is anything that could tell more
        import os

        os.write(2, b"Interrupted.\n")
        os._exit(130)  # as `exit_code` of an interrupt, which can't be imported any more
    run_process(arguments)
