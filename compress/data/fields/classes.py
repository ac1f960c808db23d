"""Names of classes in the labels of a task that says itself what a sample is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from compress.data.fields.choose import Fields
from compress.data.rows import LABEL_CHUNK, Rows
from compress.errors import DataError, clipped, unknown


@dataclass(frozen=True)
class ClassNames:
    """The names of classes by the batch's key of the labels; a key without names has numbers."""

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def encode(self, samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The samples with the indices of classes in place of their names.

        Raises
        ------
        DataError : a name isn't among those of the train split.
        """
        return [self._encoded(sample) for sample in samples] if self.names else list(samples)

    def _encoded(self, sample: dict[str, Any]) -> dict[str, Any]:
        encoded = dict(sample)
        for key, names in self.names.items():
            if key in sample:
                encoded[key] = _indices(sample[key], names)
        return encoded


def find_classes(
    rows: Rows, fields: Fields, classes: Sequence[str], given: Sequence[str]
) -> ClassNames:
    """The class names in the labels of the train split; none where its labels are numbers.

    Parameters
    ----------
    rows : the train split.
    classes : the batch's keys of the labels that are classes.
    given : the model's own class names, for the first of them; empty: those of the data, sorted.
    """
    found: dict[str, set[str]] = {}
    for sample in _samples(rows, fields, 0, 1):
        found = {key: set() for key in classes if key in sample and _is_text(sample[key])}
    if not found:
        return ClassNames()
    for start in range(0, len(rows), LABEL_CHUNK):
        for sample in _samples(rows, fields, start, min(start + LABEL_CHUNK, len(rows))):
            for key, names in found.items():
                names.update(np.asarray(sample[key]).astype(str).ravel().tolist())
    named = {key: tuple(sorted(names)) for key, names in found.items()}
    first = next(iter(classes))
    return ClassNames({**named, **({first: tuple(given)} if given and first in named else {})})


def _samples(rows: Rows, fields: Fields, start: int, stop: int) -> Iterator[dict[str, Any]]:
    yield from fields.samples(rows.fetch(np.arange(start, stop, dtype=np.int64)))


def _is_text(value: Any) -> bool:
    return np.asarray(value).dtype.kind in "US"


def _indices(value: Any, names: tuple[str, ...]) -> Any:
    given = np.asarray(value).astype(str)
    known = {name: index for index, name in enumerate(names)}
    for name in given.ravel().tolist():
        if name not in known:
            raise DataError(f"labels: {unknown('class', clipped(name), names)}")
    return np.array([known[name] for name in given.ravel().tolist()], np.int64).reshape(given.shape)
