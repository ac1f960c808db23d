"""Chooses the teacher's layers that a student has. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from compress.errors import StageError, expected

Which = Literal["even", "first", "last"]


def evenly_spaced(count: int, *, total: int) -> tuple[int, ...]:
    """`count` indices below `total`, the first and the last among them. One index is the first.

    >>> evenly_spaced(6, total=12)
    (0, 2, 4, 7, 9, 11)
    """
    if count == 1:
        return (0,)
    return tuple(int(place * (total - 1) / (count - 1) + 0.5) for place in range(count))


def chosen_layers(
    layers: int | Sequence[int], *, total: int, which: Which = "even"
) -> tuple[int, ...]:
    """The numbers of the teacher's layers that a student has.

    Raises
    ------
    StageError : the teacher has fewer layers.
    """
    if isinstance(layers, int):
        if layers > total:
            raise StageError(f"'layers' must be at most the teacher's {total}. Got {layers}.")
        if which == "even":
            return evenly_spaced(layers, total=total)
        start = 0 if which == "first" else total - layers
        return tuple(range(start, start + layers))
    if max(layers) >= total:
        raise StageError(expected("layers", f"a list of numbers below {total}", list(layers)))
    return tuple(layers)
