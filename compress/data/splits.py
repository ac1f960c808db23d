"""Makes the four splits of a run: those that the data has, and those carved from train."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compress.data.fingerprint import digest
from compress.data.labels.targets import Targets, classes_in
from compress.data.rows import Indices, Rows, Values
from compress.errors import DataError

if TYPE_CHECKING:
    from compress.data.spec import DataSpec

SPLITS = ("train", "validation", "test", "calibration")


@dataclass(frozen=True)
class Samples:
    """One split: rows in a certain order, and their encoded labels.

    Attributes
    ----------
    rows : source of the inputs.
    indices : (N,) row numbers in the order of this split.
    targets : encoded labels of the N rows.
    """

    rows: Rows
    indices: Indices
    targets: Targets

    def __len__(self) -> int:
        """Number of samples in the split."""
        return len(self.indices)

    def fetch(self, positions: Indices) -> dict[str, Values]:
        """The inputs at some positions, by column."""
        return self.rows.fetch(self.indices[positions])

    def take(self, positions: Indices) -> Samples:
        """The samples at these positions, in this order."""
        return Samples(self.rows, self.indices[positions], self.targets[positions])


def content(source: str, spec: DataSpec) -> str:
    """Digest of what the rows hold: the source's digest, and what is read as which column."""
    return digest([source, spec.model_dump(mode="json", include={"columns", "splits"})])


def identity(samples: Samples, of: str, *more: str) -> str:
    """Digest of which samples a split holds.

    Parameters
    ----------
    of : the digest of the rows' content.
    more : digests of what else decides what a sample is.
    """
    return digest([of, hashlib.sha256(samples.indices.tobytes()).hexdigest(), *more])


def complete(
    found: Mapping[str, Rows], targets: Mapping[str, Targets], spec: DataSpec, seed: int
) -> tuple[dict[str, Samples], tuple[str, ...]]:
    """All four splits, and notes on those that were carved or limited.

    Missing validation and test splits are taken out of train. Calibration is drawn from train and
    stays in it, since it tunes no weights. Carved splits are in random order, so that their first
    samples are a fair choice.

    Raises
    ------
    DataError : a split is empty, there is no train, or train is too small to carve from.
    """
    for split, rows in found.items():
        if not len(rows):
            raise DataError(f"split '{split}' is empty.")
    if "train" not in found:
        raise DataError(
            f"the data has no split 'train'. Found: {', '.join(sorted(found)) or 'none'}. "
            "Say which it is with 'splits', such as {train: training}."
        )
    splits = {
        split: Samples(rows, np.arange(len(rows), dtype=np.int64), targets[split])
        for split, rows in found.items()
    }
    notes = [*_carve(splits, spec, seed), *_limit(splits, spec)]
    if "calibration" not in splits:
        size = min(spec.calibration_samples, len(splits["train"]))
        drawn = np.random.default_rng((seed, 1)).permutation(len(splits["train"]))[:size]
        splits["calibration"] = splits["train"].take(drawn.astype(np.int64))
        notes.append(f"calibration: {size} samples of train, drawn with seed {seed}.")
        if "calibration" in spec.limit:
            notes += _limit(splits, spec, only="calibration")
    return {split: splits[split] for split in SPLITS}, tuple(notes)


def _carve(splits: dict[str, Samples], spec: DataSpec, seed: int) -> list[str]:
    """Carve missing test and validation splits out of train; returns notes."""
    train = splits["train"]
    shares = {"test": spec.test_fraction, "validation": spec.validation_fraction}
    order = np.random.default_rng((seed, 0)).permutation(len(train)).astype(np.int64)
    notes = []
    start = 0
    for split, share in shares.items():
        if split in splits:
            continue
        size = max(1, round(share * len(train)))
        splits[split] = train.take(order[start : start + size])
        start += size
        notes.append(f"{split}: {size} samples carved from train with seed {seed}.")
    if start >= len(train):
        raise DataError(f"split 'train' has {len(train)} samples: too few to carve others from.")
    if start:
        splits["train"] = train.take(np.sort(order[start:]))
    return notes


def _limit(splits: dict[str, Samples], spec: DataSpec, *, only: str | None = None) -> list[str]:
    notes = []
    for split, limit in spec.limit.items():
        samples = splits.get(split)
        if samples is None or len(samples) <= limit or only not in (None, split):
            continue
        splits[split] = samples.take(np.arange(limit, dtype=np.int64))
        lost = classes_in(samples.targets) - classes_in(splits[split].targets)
        classes = f" {lost} of its classes are not among them." if lost else ""
        notes.append(f"{split}: only the first {limit} of {len(samples)} samples.{classes}")
    return notes
