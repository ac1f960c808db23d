"""IDX, the file format of the MNIST family: a big-endian header, then unsigned bytes.

Format: LeCun, Cortes, Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.context import Split
from compress.core.foreign.boundary import reading
from compress.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PREFIXES: dict[Split, str] = {"train": "train", "validation": "validation", "test": "t10k"}
"""Beginnings of the file names of each split."""
MOST_VALUES = 2**31
"""Values in an unpacked file. All are held in memory; MNIST's family has a quarter as many."""
_UNSIGNED_BYTE = 0x08


@dataclass(frozen=True)
class IdxFiles:
    """The files found in a folder.

    Attributes
    ----------
    splits : files of images and labels of each split found.
    missing : a sentence for each file that is needed and missing.
    """

    splits: dict[str, tuple[Path, Path]]
    missing: tuple[str, ...]


def find_files(folder: Path, prefixes: Mapping[Split, str] | None = None) -> IdxFiles:
    """Look for the images and labels of each split.

    Parameters
    ----------
    prefixes : beginning of each split's file names, all of which must exist; None: `PREFIXES`, of
        which only train must exist.
    """
    required: set[str] = set(prefixes) if prefixes is not None else {"train"}
    splits: dict[str, tuple[Path, Path]] = {}
    missing: list[str] = []
    for split, prefix in (PREFIXES if prefixes is None else prefixes).items():
        names = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
        images, labels = (_plain_or_gzipped(folder / name) for name in names)
        if images is not None and labels is not None:
            splits[split] = (images, labels)
        elif split in required or images is not None or labels is not None:
            missing += [
                f"there is no file '{folder / name}' (nor '{name}.gz')."
                for name, found in zip(names, (images, labels), strict=True)
                if found is None
            ]
    return IdxFiles(splits, tuple(missing))


def read_split(images: Path, labels: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (N, H, W) and labels (N,) of one split.

    Raises
    ------
    DataError : a file isn't IDX or is truncated, or the two files have different lengths.
    """
    pixels, targets = _read(images, dimensions=3), _read(labels, dimensions=1)
    if len(pixels) != len(targets):
        raise DataError(f"'{images}' has {len(pixels)} images, '{labels}' {len(targets)} labels.")
    return pixels, targets


def _plain_or_gzipped(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def _read(path: Path, *, dimensions: int) -> npt.NDArray[np.uint8]:
    import numpy as np

    with (
        reading(path, error=DataError, failed=f"'{path}' can't be read"),
        (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file,
    ):
        start = file.read(4 + 4 * dimensions)
        if len(start) < 4 + 4 * dimensions or start[:4] != _magic(dimensions):
            raise DataError(
                f"'{path}' isn't an IDX file of unsigned bytes in {dimensions} dimensions."
            )
        shape = struct.unpack(f">{dimensions}I", start[4:])
        count = math.prod(shape)
        if count > MOST_VALUES:
            raise DataError(
                f"'{path}' must hold at most {MOST_VALUES:,} values. It says that it holds "
                f"{count:,} {shape}."
            )
        content = file.read(count + 1)  # one more byte shows if the file is longer
    if len(content) != count:
        held = f"{len(content)}" if len(content) < count else "more"
        raise DataError(f"'{path}' says that it holds {count} values {shape}; it holds {held}.")
    if shape[0] and not count:
        raise DataError(f"'{path}' holds images without pixels: {shape}.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _magic(dimensions: int) -> bytes:
    return bytes((0, 0, _UNSIGNED_BYTE, dimensions))
