"""A row's differences from the reference and from the previous row, sample by sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compress.core.notes import careful
from compress.measurement.paired.difference import difference, unpaired
from compress.measurement.paired.lost import lost_classes

if TYPE_CHECKING:
    from compress.measurement.paired.kept import KeptAnswers
    from compress.measurement.results import Difference


class Differences(NamedTuple):
    """The differences of one row, and notes on them."""

    vs_reference: Difference | None
    vs_previous: Difference | None
    notes: tuple[str, ...]


def compared(
    answers: KeptAnswers, *, reference: KeptAnswers | None, previous: KeptAnswers | None
) -> Differences:
    """Compare a row's answers with those of other rows, where there are any.

    A class that the row lost against the reference is noted, and so is a pair of rows that can't be
    compared sample by sample.
    """
    found: dict[str, Difference | None] = {}
    notes = []
    for name, other in {"reference": reference, "previous row": previous}.items():
        problem = None if other is None else unpaired(answers, other)
        if problem is not None:
            notes.append(f"no difference from the {name} is tested: {problem}")
        compares = other is not None and problem is None
        found[name] = difference(answers, other) if compares and other is not None else None
    if reference is not None:
        notes += [
            careful(
                f"class {lost.name!r} is mostly lost: its recall was {lost.before:.3f} and is "
                f"{lost.after:.3f}, of {lost.labels:,} labels"
            )
            for lost in lost_classes(answers, reference)
        ]
    return Differences(found["reference"], found["previous row"], tuple(notes))
