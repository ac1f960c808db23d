"""What the subcommands and whoever runs them tell one another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.cli.interrupts import Interrupts


@dataclass
class Call:
    """One call of the command.

    Attributes
    ----------
    interrupts : of the process.
    folder : of the run, once it is known; None of other commands.
    """

    interrupts: Interrupts
    folder: Path | None = None
