"""Classes that a model lost, which an average over all samples hides."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compress.measurement.intervals import LEVEL
from compress.measurement.paired.mcnemar import Discordant, exact_p

if TYPE_CHECKING:
    from compress.measurement.paired.kept import KeptAnswers

_LEFT = 0.5
"""A class with less than this fraction of its recall left counts as lost."""


class Lost(NamedTuple):
    """A class that was lost: its recall before and after, and the number of its labels."""

    name: str
    before: float
    after: float
    labels: int


def lost_classes(this: KeptAnswers, reference: KeptAnswers) -> list[Lost]:
    """Classes of which a model recalls less than half as much as the reference.

    Each difference is significant by McNemar's exact test, at 5 % over all classes together
    (Bonferroni's correction).
    """
    theirs, found = reference.hits(), []
    for name, ours in this.hits().items():
        before = theirs.get(name)
        if before is None or len(before) != len(ours) or ours.mean() >= _LEFT * before.mean():
            continue
        pairs = Discordant(int((ours & ~before).sum()), int((before & ~ours).sum()), len(ours))
        if exact_p(pairs) * len(theirs) < 1 - LEVEL:
            found.append(Lost(name, float(before.mean()), float(ours.mean()), len(ours)))
    return found
