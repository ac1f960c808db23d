"""The right answers of a question, as data sets like SQuAD hold them. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from compress.errors import DataError, clipped


class RightAnswer(NamedTuple):
    """A right answer: its text, and the character of the context at which it begins."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """The character after its last one."""
        return self.start + len(self.text)


def right_answers(value: Any, context: str) -> list[RightAnswer]:
    """Return the right answers of a sample; none if it is known that there is no answer.

    Parameters
    ----------
    value : {"text": texts, "answer_start": places}, or a list of such with one answer each. Empty
        lists stand for no answer (Rajpurkar et al., 2018, "Know What You Don't Know").

    Raises
    ------
    DataError : it is something else, or holds an answer that the context doesn't hold there.
    """
    found = [RightAnswer(text, start) for text, start in _pairs(value)]
    for text, start in found:
        if context[start : start + len(text)] != text:
            there = clipped(repr(context[start : start + len(text)]))
            raise DataError(
                f"the answer {clipped(repr(text))} must be at character {start} of the context. "
                f"There is {there}."
            )
    return found


def _pairs(value: Any) -> Sequence[tuple[str, int]]:
    if isinstance(value, Mapping):
        texts, starts = (_listed(value.get(name)) for name in ("text", "answer_start"))
        pairs = list(zip(texts, starts, strict=False))
        right = len(texts) == len(starts)
    else:
        listed = [one for one in _listed(value) if isinstance(one, Mapping)]
        pairs = [(one.get("text"), one.get("answer_start")) for one in listed]
        right = len(listed) == len(_listed(value))
    if not right or not all(
        isinstance(text, str) and text.strip() and type(start) is int and start >= 0
        for text, start in pairs
    ):
        raise DataError(
            "'answers' must be {text: [texts], answer_start: [characters from 0]}, as in SQuAD; "
            "both lists are empty for a question without an answer. "
            f"Got {clipped(repr(value))}."
        )
    return pairs


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
