"""Standard streams that are closed when the command starts."""

from __future__ import annotations

import os
import sys

_NAMES = ("stdin", "stdout", "stderr")


def open_closed() -> None:
    """Connect closed standard streams to the null device, before any file is opened.

    Otherwise the next opened file would get the number of a closed stream, and libraries would
    print into that file.
    """
    for number, name in enumerate(_NAMES):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, errors="replace", closefd=False))  # noqa: SIM115
