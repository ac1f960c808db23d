"""Standard streams that are closed when the command starts."""

from __future__ import annotations

import os
import sys

_NAMES = ("stdin", "stdout", "stderr")


def open_closed() -> None:
    """Let closed standard streams read and write nothing; before any file is opened.

    Otherwise the number of a closed one would be given to the next file, and what libraries print
    would land in it.
    """
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, errors="replace", closefd=False))  # noqa: SIM115
