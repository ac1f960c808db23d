"""F1 of whole entities, as in CoNLL's shared tasks (Tjong Kim Sang & De Meulder, 2003)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from compress.core.batch import IGNORED
from compress.errors import InputError
from compress.measurement.metrics.tally import Answer, Sums, f1

if TYPE_CHECKING:
    from compress.measurement.metrics.tally import Floats

Entity = tuple[str, int, int]
"""An entity: its type, the index of its first word, and the index after its last word."""
_OUTSIDE = "O"


def f1_entities(labels: Sequence[str]) -> Sums:
    """F1 of entities; one is correct if its type and its extent are.

    Parameters
    ----------
    labels : class names in IOB2: O, and for each type B-<type> and I-<type>.

    Raises
    ------
    InputError : the labels have other names.
    """
    wrong = [name for name in labels if name != _OUTSIDE and name[:2] not in ("B-", "I-")]
    if wrong or not any(name[:2] == "B-" for name in labels):
        raise InputError(
            "the metric 'f1_entities' needs labels that are named in IOB2: O, B-<type> and "
            f"I-<type>. Got {', '.join(wrong or labels) or 'none'}."
        )

    def rows(answer: Answer) -> Floats:
        found = []
        said = answer.scores.argmax(-1)
        for predicted, tags in zip(said, answer.labels, strict=True):
            words = tags != IGNORED
            if words.any():
                ours = entities([labels[index] for index in predicted[words]])
                theirs = entities([labels[index] for index in tags[words]])
                found.append((len(ours & theirs), len(ours), len(theirs)))
        return np.array(found, dtype=np.float64).reshape(-1, 3)

    return Sums(rows, f1)


def entities(tags: Sequence[str]) -> set[Entity]:
    """The entities in one sample's tags. Only a B- tag begins an entity.

    >>> sorted(entities(["B-PER", "I-PER", "I-LOC", "B-LOC"]))
    [('LOC', 3, 4), ('PER', 0, 2)]
    """
    found: set[Entity] = set()
    kind: str | None = None
    start = 0
    for word, tag in enumerate([*tags, _OUTSIDE]):
        if tag == f"I-{kind}":
            continue
        if kind is not None:
            found.add((kind, start, word))
        kind, start = (tag[2:], word) if tag.startswith("B-") else (None, word)
    return found
