"""Explicit fractions to remove, by the name of the group. No torch here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from compress.errors import StageError, few

if TYPE_CHECKING:
    from compress.models.structure.groups import Group

_NAMED = 8


def params_left(ratio: float) -> float:
    """The fraction of a layer's parameters that remains if `ratio` of both its input and its output
    channels are removed: (1 - ratio)²."""
    return (1 - ratio) ** 2


def ratio_meaning(ratios: Mapping[str, float]) -> str:
    """A sentence that says what ratios of units mean in parameters.

    >>> ratio_meaning({"*": 0.5})
    'ratios are of units: 0.5 takes 75% of the parameters of a layer cut on both sides, 50% on one.'
    """
    each = ", ".join(
        f"{ratio:g} takes {1 - params_left(ratio):.0%}" for ratio in sorted({*ratios.values()})
    )
    one = ", ".join(f"{ratio:.0%}" for ratio in sorted({*ratios.values()}))
    return (
        f"ratios are of units: {each} of the parameters of a layer cut on both sides, {one} on one."
    )


def most(max_ratio: float | Mapping[str, float], name: str) -> float:
    """The largest fraction of a group that may be removed.

    With patterns, it is the fraction of the first that matches the group's name, or 1 if none does.
    """
    if not isinstance(max_ratio, Mapping):
        return max_ratio
    return next((ratio for p, ratio in max_ratio.items() if fnmatchcase(name, p)), 1.0)


def matched(
    groups: Sequence[Group], patterns: Mapping[str, float], *, key: str
) -> list[str | None]:
    """The first pattern that matches each group's name, or None if none does.

    Parameters
    ----------
    patterns : case-sensitive `fnmatch` patterns (*, ?, [...]).
    key : name of the option with the patterns, for the error.

    Raises
    ------
    StageError : a pattern matches no group.
    """
    names = [group.name for group in groups]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise StageError(_no_match(pattern, names, key=key))
    return [
        next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)
        for name in names
    ]


def ratio_counts(
    groups: Sequence[Group], ratios: Mapping[str, float], *, choices: Sequence[Sequence[int]]
) -> tuple[list[int], tuple[str, ...]]:
    """The number of units to cut from each group, and notes on what rounding changed.

    Parameters
    ----------
    ratios : the fraction to remove, in [0, 1), by pattern of names. Groups that no pattern matches
        keep all units.
    choices : the allowed numbers of cuts of each group, sorted; the nearest is taken.

    Raises
    ------
    StageError : a pattern matches no group.
    """
    counts, rounded = [], []
    found = matched(groups, ratios, key="ratios")
    for group, pattern, each in zip(groups, found, choices, strict=True):
        asked = 0.0 if pattern is None else ratios[pattern] * group.units
        count = min(each, key=lambda choice: abs(choice - asked))
        counts.append(count)
        if abs(count - asked) >= 1:
            rounded.append(f"{group.name} {count / group.units:.3g} for {asked / group.units:.3g}")
    if not rounded:
        return counts, ()
    named = few(rounded, most=_NAMED)
    return counts, (f"ratios rounded to what a layer may keep: {named}.",)


def _no_match(pattern: str, names: Sequence[str], *, key: str) -> str:
    nearest = difflib.get_close_matches(pattern, names, n=1, cutoff=0.3)
    meant = f" Did you mean {nearest[0]!r}?" if nearest else ""
    known = few(list(names), most=_NAMED) or "none"
    return f"{key}: {pattern!r} matches nothing that can be cut. There are: {known}.{meant}"
