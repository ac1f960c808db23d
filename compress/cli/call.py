"""State that the subcommands share with the code that runs them."""

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
    interrupts : the interrupts of the process.
    folder : the run's folder, once it is known; None for other commands.
    """

    interrupts: Interrupts
    folder: Path | None = None
