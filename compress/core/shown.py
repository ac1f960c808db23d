"""Makes foreign text safe to show: characters that are hidden or control a terminal are escaped."""

from __future__ import annotations

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode's categories of control characters (also bidirectional), surrogates, line separators."""
_JOINERS = frozenset({"\u200c", "\u200d", "\u00ad"})
"""Formatting characters that words of some languages, and emoji, need."""


def shown(text: str, *, keep: str = "\n\t") -> str:
    r"""The text with its control characters escaped.

    Parameters
    ----------
    keep : control characters that stay as they are.

    >>> shown("a\x1b[31mb\u202ec")
    'a\\x1b[31mb\\u202ec'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(letter) if _hides(letter) and letter not in keep else letter for letter in text
    )


def one_line(text: str) -> str:
    r"""The text as `shown` gives it, with every run of white space as one space.

    >>> one_line("a\r\n  b\u2028c")
    'a b c'
    """
    return shown(" ".join(text.split()), keep="")


def _hides(letter: str) -> bool:
    return unicodedata.category(letter) in _HIDDEN and letter not in _JOINERS


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
