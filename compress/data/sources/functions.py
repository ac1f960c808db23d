"""Data from a Python function that the recipe names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from compress.core.context import Split, Task
from compress.core.foreign.boundary import foreign
from compress.core.foreign.entries import call_entry
from compress.data.fingerprint import digest
from compress.data.images.orientation import upright
from compress.data.rows import SequenceRows, input_columns, label_column
from compress.data.sources.source import Source
from compress.data.spec import DataSpec
from compress.errors import DataError, unknown


def open_python(target: str, spec: DataSpec, task: Task) -> Source:
    """The source that "package.module:function" returns for the spec's arguments.

    Every sample is read once for the fingerprint, since nothing else shows that the function's data
    changed.

    Raises
    ------
    DataError : the function can't be imported, fails, or doesn't return a mapping of split names to
        sequences; or a sequence fails, or changes its length.
    """
    returned = call_entry(target, spec.arguments, error=DataError)
    with foreign(repr(target), error=DataError):
        if not isinstance(returned, Mapping) or not all(map(_is_sequence, returned.values())):
            raise DataError(
                f"{target} must return a mapping of split names to sequences of samples. "
                f"Got {type(returned).__name__}."
            )
        found = {str(name): samples for name, samples in returned.items()}
    names = choose_splits(list(found), spec.splits)
    available: tuple[str, ...] = ()
    if task.target == "own":
        available = _keys_of_samples(target, [found[theirs] for theirs in names.values()])
    columns = input_columns(spec.columns, task, available)
    label = label_column(spec.columns, task)
    splits = {
        ours: SequenceRows(ours, found[theirs], columns, label, entry=target)
        for ours, theirs in names.items()
    }
    content = {ours: _digest_samples(rows) for ours, rows in splits.items()}
    return Source(dict(splits), digest(content), unused_note(found, names))


def choose_splits(available: Sequence[str], wanted: Mapping[Split, str] | None) -> dict[str, str]:
    """The data's names of the splits, by our names.

    Raises
    ------
    DataError : a split that `wanted` names isn't available.
    """
    if wanted is None:
        return {
            name: name
            for name in ("train", "validation", "test", "calibration")
            if name in available
        }
    for ours, theirs in wanted.items():
        if theirs not in available:
            raise DataError(f"splits.{ours}: {unknown('split', theirs, available)}")
    return {str(ours): theirs for ours, theirs in wanted.items()}


def unused_note(available: Mapping[str, Any], names: Mapping[str, str]) -> tuple[str, ...]:
    """A note on splits of the data that aren't used; empty if all are."""
    unused = [str(name) for name in available if name not in names.values()]
    return (f"splits of the data that are not used: {', '.join(unused)}.",) if unused else ()


def _keys_of_samples(target: str, splits: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    """The keys of the first sample."""
    with foreign(repr(target), error=DataError):
        first: Any = next((samples[0] for samples in splits if len(samples)), {})
        return tuple(map(str, first)) if isinstance(first, Mapping) else ()


def _is_sequence(value: object) -> bool:
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


def _digest_samples(rows: SequenceRows) -> str:
    running = hashlib.sha256()
    for row in range(len(rows)):
        values = [values[0] for values in rows.fetch(np.array([row])).values()]
        with foreign(repr(rows.entry), error=DataError):
            for value in values:
                _add(running, value)
    for labels in rows.labels():
        with foreign(repr(rows.entry), error=DataError):
            running.update(repr([str(label) for label in labels]).encode())
    rows.require_length()
    return running.hexdigest()


def _add(running: hashlib._Hash, value: Any) -> None:
    if isinstance(value, Image.Image):  # the pixels' meaning depends on mode and palette
        value = upright(value)
        running.update(repr((value.mode, value.getpalette())).encode())
    array = np.asarray(value)
    is_image = array.dtype.kind not in "UO"
    running.update(f"{array.shape}{array.dtype}".encode() if is_image else b"text")
    running.update(array.tobytes() if is_image else repr(value).encode())
