"""The command. `compress --help` imports nothing but its options."""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, without importing it: an interrupt may come at any moment
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The `compress` command.

    Parameters
    ----------
    arguments : without the program's name; those of the process by default, which is then the
        command's own: its streams are looked after, and it ends here.
    """
    try:
        from compress.cli.process import run_process
    except KeyboardInterrupt:  # before there is anything that could tell more
        import os

        os.write(2, b"Interrupted.\n")
        os._exit(130)  # as `exit_code` of an interrupt, which can't be imported any more
    run_process(arguments)
