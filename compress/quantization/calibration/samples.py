"""Takes samples from batches, one by one and without padding.

Thus nothing depends on the batch size, padding is never counted, and short texts are run at their
own length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from compress.core.batch import ATTENTION_MASK
from compress.errors import DataError, StageError
from compress.measurement.session import is_supplied

if TYPE_CHECKING:
    from compress.core.context import Batch

Array = NDArray[Any]
Sample = Mapping[str, Array]
Batches = Iterable["Batch"]

_DIGESTS = 2**256


def samples(batches: Batches, inputs: Sequence[str]) -> Iterator[Sample]:
    """Every sample's inputs, each array with a batch of 1.

    If the batch has an attention mask (N, S), inputs (N, S) and (N, S, H) are cut to the positions
    from a sample's first token to its last.

    Parameters
    ----------
    inputs : names of the model's inputs. The session supplies caches and positions.

    Raises
    ------
    DataError : a batch lacks an input.
    StageError : arrays of one batch hold different numbers of samples, or a sample has no token.
    """
    for batch in batches:
        missing = [name for name in inputs if name not in batch and not is_supplied(name)]
        if missing:
            raise DataError(
                f"the model takes the inputs {', '.join(inputs)}, but the batch has no "
                f"{', '.join(missing)}. It has: {', '.join(batch) or 'nothing'}."
            )
        arrays = {name: np.asarray(batch[name]) for name in inputs if name in batch}
        counts = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            raise StageError(f"the inputs of a batch don't hold equally many samples: {counts}.")
        mask = np.asarray(batch[ATTENTION_MASK]) if ATTENTION_MASK in batch else None
        for place in range(next(iter(counts.values()))):
            yield _cut(arrays, mask, place)


def _cut(arrays: Mapping[str, Array], mask: Array | None, place: int) -> Sample:
    own = {name: array[place : place + 1] for name, array in arrays.items()}
    if mask is None:
        return own
    tokens = np.flatnonzero(mask[place])
    if not tokens.size:
        raise StageError("a calibration sample has no token: its attention_mask is 0 throughout.")
    start, end = tokens[0], tokens[-1] + 1
    return {
        name: array[:, start:end]
        if array.ndim in (2, 3) and arrays[name].shape[:2] == mask.shape
        else array
        for name, array in own.items()
    }


class SampleCounts:
    """Count and digest of samples, whatever their order.

    Attributes
    ----------
    count : number of samples.
    largest : the sample with the most elements; None before the first sample.
    """

    def __init__(self) -> None:
        self.count = 0
        self.largest: Sample | None = None
        self._sum = 0

    def add(self, sample: Sample) -> None:
        """Take note of a sample."""
        found = hashlib.sha256()
        for name, array in sample.items():
            found.update(f"{name} {array.dtype.str} {array.shape}".encode())
            found.update(np.ascontiguousarray(array).data)
        self._sum = (self._sum + int.from_bytes(found.digest(), "big")) % _DIGESTS
        self.count += 1
        if self.largest is None or _elements(sample) > _elements(self.largest):
            self.largest = {name: array.copy() for name, array in sample.items()}

    @property
    def digest(self) -> str:
        """A digest that is the same for the same samples in any order and in any batches."""
        return f"{self.count}-{self._sum:064x}"


def _elements(sample: Sample) -> int:
    return sum(array.size for array in sample.values())
