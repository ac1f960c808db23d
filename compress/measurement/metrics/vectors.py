"""Vectors of many texts, held once, and products with all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Integers = NDArray[np.int64]

_TOGETHER = 4096
"""Vectors in a block; a product with a block is one matrix product."""


class Vectors:
    """Vectors (N, H) in blocks, so that they are never copied as a whole."""

    def __init__(self) -> None:
        self._blocks: list[Floats] = []
        self._few: list[Floats] = []

    def add(self, vectors: Floats) -> None:
        """Add vectors (M, H)."""
        self._few.append(vectors)
        if sum(map(len, self._few)) >= _TOGETHER:
            self._join()

    def at(self, places: Integers) -> Floats:
        """The vectors at some places, (P, H)."""
        self._join()
        starts = np.cumsum([0, *map(len, self._blocks)])
        blocks = np.searchsorted(starts, places, side="right") - 1
        found = np.empty((len(places), self._blocks[0].shape[1]), self._blocks[0].dtype)
        for number in np.unique(blocks):
            here = blocks == number
            found[here] = self._blocks[number][places[here] - starts[number]]
        return found

    def products(self, vectors: Floats) -> Floats:
        """The products (B, N) of some vectors (B, H) with all of these."""
        self._join()
        return np.concatenate([vectors @ block.T for block in self._blocks], axis=1)

    def _join(self) -> None:
        if self._few:
            self._blocks.append(np.concatenate(self._few))
            self._few = []
