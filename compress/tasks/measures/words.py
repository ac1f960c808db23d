"""Word error rate, the metric of speech recognition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.errors import StageError
from compress.tasks.contract import TaskMetric
from compress.tasks.metrics import quotient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]
    Texts = Callable[[Arrays], Sequence[str]]


def word_error_rate(said: Texts, wanted: Texts, *, name: str = "word_error_rate") -> TaskMetric:
    """Return the word error rate (WER): lower is better, and it may exceed 1.

    It is the number of words that would have to be replaced, left out or put in, over the number of
    words wanted, both over all samples together, as in torchmetrics. Words stand between blanks;
    case and punctuation count.

    Parameters
    ----------
    said : a function from a batch's outputs, arrays by name, to the text of each sample.
    wanted : a function from a batch's labels, arrays by name, to the text of each sample. A single
        label is called "labels".
    name : name of the metric.
    """

    def rows(outputs: Arrays, labels: Arrays) -> NDArray[np.float64]:
        ours, theirs = list(said(outputs)), list(wanted(labels))
        if len(ours) != len(theirs):
            raise StageError(f"{name}: {len(ours)} texts are said, and {len(theirs)} are wanted.")
        pairs = [(one.split(), other.split()) for one, other in zip(ours, theirs, strict=True)]
        counts = [(word_errors(one, other), len(other)) for one, other in pairs]
        return np.array(counts, np.float64).reshape(-1, 2)

    return TaskMetric(name, higher_is_better=False, rows=rows, value=quotient)


def word_errors(said: Sequence[str], wanted: Sequence[str]) -> int:
    """Return the least number of words to replace, leave out or put in (Levenshtein, 1966).

    >>> word_errors("a small bat sat".split(), "a bat sat down".split())
    2
    """
    places = {word: number for number, word in enumerate({*said, *wanted})}
    goal = np.array([places[word] for word in wanted], np.int64)
    steps = np.arange(len(goal) + 1)
    row = steps
    for word in said:
        # Of each beginning of `wanted`: this word left out, or put for one of its.
        kept = row + 1
        kept[1:] = np.minimum(kept[1:], row[:-1] + (goal != places[word]))
        # Then any number of words put in: the least of what is before, and one for each.
        row = np.minimum.accumulate(kept - steps) + steps
    return int(row[-1])
