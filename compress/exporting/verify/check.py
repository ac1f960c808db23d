"""What a check of a bundle found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """One line of a verification.

    Attributes
    ----------
    name : a word.
    status : a warning leaves the bundle usable.
    text : half a sentence.
    """

    name: str
    status: Status
    text: str
