"""What people see of foreign texts: nothing in them steers or hides."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.core.shown import one_line, shown


@given(st.text())
def test_nothing_is_left_that_steers(text: str) -> None:
    kinds = {unicodedata.category(letter) for letter in one_line(text)}
    assert not kinds & {"Cc", "Zl", "Zp", "Cs"}
    assert not set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200f\ufeff") & set(one_line(text))


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_plain_texts_stay(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\nc", "a\\rb\nc"),
        ("\ud800", r"\ud800"),
        ("\x9b2J", r"\x9b2J"),
        ("👩\u200d💻 né", "👩\u200d💻 né"),
    ],
)
def test_what_is_seen(text: str, seen: str) -> None:
    assert shown(text) == seen
