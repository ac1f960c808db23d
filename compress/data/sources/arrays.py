"""Sources that are uint8 arrays in memory: IDX files and scikit-learn's digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from compress.data.fingerprint import digest, digest_files
from compress.data.rows import ArrayRows
from compress.data.sources.idx import find_files, read_split
from compress.data.sources.source import Source
from compress.data.spec import DataSpec
from compress.errors import DataError

_DIGITS_MAXIMUM = 16


def open_idx(folder: Path, spec: DataSpec) -> Source:
    """The splits of a folder of IDX files.

    Raises
    ------
    DataError : the folder or a file is missing, or a file isn't IDX.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder '{folder}'.")
    found = find_files(folder, spec.splits)
    if found.missing:
        raise DataError(" ".join(found.missing))
    splits = {
        split: ArrayRows(split, *read_split(images, labels))
        for split, (images, labels) in found.splits.items()
    }
    content = {split: digest_files(files) for split, files in found.splits.items()}
    return Source(dict(splits), digest(content))


def open_digits() -> Source:
    """scikit-learn's digits: 1,797 images of 8x8 pixels, all in train.

    Their 17 grey levels are scaled to 0..255, so that the usual preprocessing of images fits.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / _DIGITS_MAXIMUM)).astype(np.uint8)
    targets = bunch.target.astype(np.int64)
    content = digest([images.tobytes().hex(), targets.tolist()])
    return Source({"train": ArrayRows("train", images, targets)}, content)
