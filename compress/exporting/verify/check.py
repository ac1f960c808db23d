"""The result of a check of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failed"]


@dataclass(frozen=True)
class Check:
    """One line of a verification.

    Attributes
    ----------
    name : a word for the check.
    status : "ok", "warning" (the bundle stays usable) or "failed".
    text : the finding, as a phrase.
    """

    name: str
    status: Status
    text: str
