"""Data in numpy's files: one .npz a split, or a folder with a .npy file for each array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.foreign.boundary import reading
from compress.data.fingerprint import digest, digest_files
from compress.data.rows import Indices, Rows, Values
from compress.data.sources.functions import choose_splits, unused_note
from compress.data.sources.source import Source
from compress.errors import DataError, clipped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.data.spec import DataSpec

TRAIN = "train"


@dataclass(frozen=True)
class ColumnRows:
    """Arrays (N, …) by name, in memory or mapped from files."""

    split: str
    arrays: Mapping[str, NDArray[Any]]
    label_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        """See `Rows`."""
        return len(next(iter(self.arrays.values())))

    def fetch(self, indices: Indices) -> dict[str, Values]:
        """See `Rows`."""
        return {name: np.asarray(values[indices]) for name, values in self.arrays.items()}

    def labels(self) -> Iterator[Values]:
        """See `Rows`; a task of its own finds labels among the arrays."""
        return iter(())


def open_arrays(path: Path, spec: DataSpec) -> Source:
    """The splits of a .npz file, of a folder of such files, or of a folder of .npy files.

    A single .npz is the train split, as is a folder with .npy files alone. Otherwise each split is
    a file (train.npz) or a folder (train/x.npy). Objects (pickles) aren't read.

    Raises
    ------
    DataError : nothing is found, a file can't be read, or arrays of a split differ in length.
    """
    places = _places(path)
    names = choose_splits(list(places), spec.splits)
    if not names:
        raise DataError(
            f"'{path}' has none of our splits. Found: {', '.join(places) or 'no .npz or .npy'}. "
            "Say which is which with 'splits', such as {train: training}."
        )
    splits: dict[str, Rows] = {}
    content: dict[str, str] = {}
    for ours, theirs in names.items():
        files = places[theirs]
        with reading(f"split '{ours}' of '{path}'", error=DataError):
            arrays = _read(files)
            content[ours] = digest_files(files)
        splits[ours] = ColumnRows(ours, _whole(arrays, ours, path))
    return Source(splits, digest(content), unused_note(places, names))


def names_of_arrays(path: Path, spec: DataSpec) -> tuple[str, ...]:
    """Names of the arrays of the train split, without reading them; empty if there is none.

    Raises
    ------
    DataError : nothing is found, or a file can't be read.
    """
    places = _places(path)
    train = choose_splits(list(places), spec.splits).get(TRAIN)
    if train is None:
        return ()
    files = places[train]
    if files[0].suffix == ".npy":
        return tuple(file.stem for file in files)
    with (
        reading(f"split '{TRAIN}' of '{path}'", error=DataError),
        np.load(files[0], allow_pickle=False) as packed,
    ):
        return tuple(packed.files)


def _places(path: Path) -> dict[str, list[Path]]:
    """The files of each split, by the split's name."""
    if path.is_file():
        return {TRAIN: [path]}
    if not path.is_dir():
        raise DataError(f"there is no file or folder '{path}'.")
    arrays = sorted(path.glob("*.npy"))
    if arrays:
        return {TRAIN: arrays}
    found = {file.stem: [file] for file in sorted(path.glob("*.npz"))}
    for folder in sorted(each for each in path.iterdir() if each.is_dir()):
        files = sorted(folder.glob("*.npy"))
        if files:
            found[folder.name] = files
    return found


def _read(files: list[Path]) -> dict[str, NDArray[Any]]:
    if files[0].suffix == ".npy":
        return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}
    with np.load(files[0], allow_pickle=False) as packed:
        return {name: packed[name] for name in packed.files}


def _whole(arrays: dict[str, NDArray[Any]], split: str, path: Path) -> dict[str, NDArray[Any]]:
    lengths = {name: len(values) if values.ndim else 0 for name, values in arrays.items()}
    if len(set(lengths.values())) > 1 or not arrays:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items()) or "none"
        raise DataError(
            f"split '{split}' of {clipped(repr(str(path)))} must have arrays of one length, the "
            f"number of samples. Got: {said}."
        )
    return arrays
