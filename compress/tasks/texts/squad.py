"""Exact match and token F1 of answers, as SQuAD's own script counts them.

Rajpurkar et al., 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text"; the rule for
answers without a word is that of Rajpurkar et al., 2018, "Know What You Don't Know".
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = frozenset(string.punctuation)


def normalized(text: str) -> list[str]:
    """Return a text's words in lower case, without punctuation and English articles."""
    plain = "".join(letter for letter in text.lower() if letter not in _PUNCTUATION)
    return _ARTICLES.sub(" ", plain).split()


def exact_match(answer: str, right: Sequence[str]) -> float:
    """Return 1.0 if an answer has the words of a right one, else 0.0."""
    return float(any(normalized(answer) == normalized(one) for one in right))


def token_f1(answer: str, right: Sequence[str]) -> float:
    """Return the largest F1 of an answer's words and those of a right answer, in [0, 1]."""
    return max(_f1(normalized(answer), normalized(one)) for one in right)


def _f1(got: Sequence[str], wanted: Sequence[str]) -> float:
    if not got or not wanted:
        return float(got == wanted)
    shared = sum((Counter(got) & Counter(wanted)).values())
    return 2 * shared / (len(got) + len(wanted))
