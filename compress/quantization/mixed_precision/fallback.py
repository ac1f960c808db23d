"""Lets the worst nodes fall back to float, one after another, until a model is good enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple


class Returned(NamedTuple):
    """A model with some of its nodes in float.

    Attributes
    ----------
    path : its file.
    nodes : names of the nodes that fell back to float.
    good : True if the model is good enough.
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
    """Build models, each with one more node in float than the one before, and return all of them.

    Parameters
    ----------
    ranking : nodes, the worst first.
    build : writes the model with these nodes in float.
    good : returns whether a model is good enough; the search ends with the first good model.
    most : the largest number of nodes that fall back.
    """
    steps: list[Returned] = []
    for count in range(1, min(most, len(ranking)) + 1):
        nodes = tuple(ranking[:count])
        path = build(nodes)
        steps.append(Returned(path, nodes, good(path)))
        if steps[-1].good:
            break
    return steps
