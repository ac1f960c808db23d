"""Notes for the reader of a report, by their weight."""

from __future__ import annotations

import re
from enum import StrEnum

_CAREFUL = "careful: "
_NAMED = r"(?:[^:]{1,40}: ){0,2}"
"""What stages put before a note of one of several files, such as "int8: "."""
_WARNS = re.compile(_NAMED + _CAREFUL)
_RISKS = re.compile(
    _NAMED
    + r"(?:answers depend on |short texts have no answer|generation isn't timed|not timed in |"
    r"the machine was too noisy|left aside: |\d+ threads share )"
)
"""Beginnings of notes that always warn, whether they are marked or not."""
_CHECKS = re.compile(_NAMED + r"(?:(?:ONNX )?against (?:torch|the )|[\w.]+ on [\d,]+ raw samples)")


class Weight(StrEnum):
    """The weight of a note; the heaviest first."""

    WARNING = "warning"
    CHOICE = "choice"
    CHECK = "check"


def careful(note: str) -> str:
    """Return a note marked as a warning, which a reader should see before all others."""
    return note if _WARNS.match(note) else _CAREFUL + note


def unmarked(note: str) -> str:
    """Return a note without the mark of a warning."""
    return note.replace(_CAREFUL, "", 1) if _WARNS.match(note) else note


def weight(note: str) -> Weight:
    """Return the weight of a note: a comparison that held is a check, all else a choice."""
    if _WARNS.match(note) or _RISKS.match(note):
        return Weight.WARNING
    return Weight.CHECK if _CHECKS.match(note) else Weight.CHOICE
