"""What the values of a column are: texts, classes, numbers, words, images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "class", "number", "words", "tags", "numbers", "image", "other"]
"""text : strings, most of them different. class : strings, whole numbers or booleans that repeat.
number : any other number. words : lists of strings. tags : lists of whole numbers. numbers : lists
of other numbers, and arrays. image : files of images, or their bytes."""

LABELS = (
    *("label", "labels", "class", "category", "target", "targets", "y", "intent", "sentiment"),
    *("emotion", "topic", "ner_tags", "tags", "pos_tags", "score", "rating", "stars", "value"),
)
"""Usual names of the column of labels, the likeliest first."""
TEXTS = ("text", "sentence", "content", "review", "body", "document", "question", "title")
"""Usual names of the column of texts, the likeliest first."""
PAIRS = (
    *(("sentence1", "sentence2"), ("premise", "hypothesis"), ("text", "text_pair")),
    *(("question1", "question2"), ("text1", "text2"), ("text_a", "text_b"), ("query", "passage")),
    *(("question", "sentence"), ("question", "answer")),
)
"""Usual names of two columns of texts that belong together."""
WORDS = ("tokens", "words")
"""Usual names of the column of words."""
_LONGEST_CLASS = 60
_MOST_WORDS = 4
_FEW_NUMBERS = 20


@dataclass(frozen=True)
class Column:
    """One column of the data, or one array.

    Attributes
    ----------
    name : its name.
    kind : what its values are.
    values : the first of them.
    shape : shape of a sample's value; () for a single one.
    """

    name: str
    kind: Kind
    values: Sequence[Any]
    shape: tuple[int, ...] = ()


def column_of(name: str, values: Sequence[Any]) -> Column:
    """Return a column of a table."""
    known = [value for value in values if value is not None and value != ""]
    return Column(name, _kind(name, known), known)


def preferred(columns: Mapping[str, Column], names: Sequence[str]) -> Column | None:
    """Return the first of some names that is a column's, whatever its case."""
    lower = {name.lower(): column for name, column in columns.items()}
    return next((lower[name] for name in names if name in lower), None)


def _kind(name: str, values: Sequence[Any]) -> Kind:
    if not values:
        return "other"
    if all(isinstance(value, bool) for value in values):
        return "class"
    if all(isinstance(value, str) for value in values):
        return _of_strings(name, values)
    if all(isinstance(value, int | float) for value in values):
        return _of_numbers(name, values)
    if all(isinstance(value, list | tuple) for value in values):
        return _of_lists(values)
    pictures = all(isinstance(value, dict) and {"bytes", "path"} & set(value) for value in values)
    return "image" if pictures else "other"


def _of_strings(name: str, values: Sequence[str]) -> Kind:
    if values[0].startswith(("struct<bytes", "binary", "large_binary")):
        return "image"  # the type's name: see `compress.data.peek.first_rows`
    if values[0].startswith("struct<"):
        return "other"
    if name.lower() in TEXTS:
        return "text"
    different = set(values)
    short = all(len(value) <= _LONGEST_CLASS for value in different)
    repeats = len(different) <= max(1, len(values) // 2)
    named = name.lower() in LABELS
    few_words = all(len(value.split()) <= _MOST_WORDS for value in different)
    return "class" if short and (repeats or (named and few_words)) else "text"


def _of_numbers(name: str, values: Sequence[int | float]) -> Kind:
    whole = all(float(value).is_integer() and value >= 0 for value in values)
    integers = all(isinstance(value, int) for value in values)
    different = len(set(values))
    if not whole or (not integers and name.lower() not in LABELS):
        return "number"
    return "class" if different <= max(_FEW_NUMBERS, len(values) // 20) else "number"


def _of_lists(values: Sequence[Sequence[Any]]) -> Kind:
    items = [item for value in values for item in value]
    if all(isinstance(item, str) for item in items):
        return "words"
    if all(isinstance(item, int) and not isinstance(item, bool) for item in items):
        return "tags"
    return "numbers" if all(isinstance(item, int | float) for item in items) else "other"
