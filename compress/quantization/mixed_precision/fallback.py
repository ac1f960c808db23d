"""Lets the worst nodes fall back to float, one after another, until a model is good enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple


class Returned(NamedTuple):
    """A model some of whose nodes stay in float.

    Attributes
    ----------
    path : its file.
    nodes : those that fell back to float.
    good : whether it is good enough now.
    """

    path: Path
    nodes: tuple[str, ...]
    good: bool


def return_to_float(
    ranking: Sequence[str],
    *,
    build: Callable[[Sequence[str]], Path],
    good: Callable[[Path], bool],
    most: int,
) -> list[Returned]:
    """Every model on the way, each with one more node in float than the one before.

    Parameters
    ----------
    ranking : nodes, the worst first.
    build : writes the model with these nodes in float.
    good : whether a model is good enough; the search ends with the first that is.
    most : how many nodes fall back at most.
    """
    steps: list[Returned] = []
    for count in range(1, min(most, len(ranking)) + 1):
        nodes = tuple(ranking[:count])
        path = build(nodes)
        steps.append(Returned(path, nodes, good(path)))
        if steps[-1].good:
            break
    return steps
