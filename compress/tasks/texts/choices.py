"""The choices of a sample, and which of them is right. No torch here."""

from __future__ import annotations

from typing import Any

from compress.errors import DataError, clipped
from compress.tasks.texts.checks import require_text


def choices_in(value: Any) -> list[str]:
    """Return a sample's choices, two or more.

    Raises
    ------
    DataError : it isn't a list of texts, or one of them is empty.
    """
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise DataError(
            f"'choices' must be a list of two texts or more. Got {clipped(repr(value))}."
        )
    return [require_text(one, "choices") for one in value]


def right_choice(value: Any, choices: list[str]) -> int:
    """Return the number, from 0, of the choice that a label names.

    Parameters
    ----------
    value : a number from 0, also as a text; or the text of one of the choices.

    Raises
    ------
    DataError : it names none of the choices.
    """
    if isinstance(value, str) and choices.count(value) == 1:
        return choices.index(value)
    digits = isinstance(value, str) and value.strip().isdecimal()
    number = (
        int(value) if digits or (isinstance(value, int) and not isinstance(value, bool)) else -1
    )
    if not 0 <= number < len(choices):
        allowed = f"a number from 0 to {len(choices) - 1}, or the text of one of the choices"
        raise DataError(f"the label must be {allowed}. Got {clipped(repr(value))}.")
    return number
