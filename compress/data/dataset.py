"""A run's data, ready to be cut into batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compress.core.artifact import Preprocessor
from compress.core.context import Split
from compress.data.arrays import open_digits, open_idx
from compress.data.calls import open_python
from compress.data.fingerprint import digest
from compress.data.huggingface import open_huggingface
from compress.data.images import ImagePreprocessor
from compress.data.labels import encode_labels
from compress.data.loader import BatchLoader
from compress.data.source import Source
from compress.data.spec import DataSpec
from compress.data.splits import Samples, complete
from compress.data.texts import TextPreprocessor
from compress.errors import DataError
from compress.tasks.task import TASKS, Modality, Task


@dataclass(frozen=True)
class Dataset:
    """The four splits; implements `compress.core.context.Data`.

    Attributes
    ----------
    splits : samples of each split.
    labels : class names in the order of the label indices.
    fingerprint : hex digest of the content and of all that decides which samples a split holds.
    notes : what was carved, limited, left aside or decided, and why.
    """

    splits: dict[str, Samples]
    labels: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()

    def size(self, split: Split) -> int:
        """Samples in a split."""
        return len(self.splits[split])

    def loader(
        self,
        split: Split,
        preprocessor: Preprocessor,
        *,
        batch_size: int,
        shuffle_seed: int | None = None,
        limit: int | None = None,
        fixed_length: bool = False,
        sample_ids: bool = False,
    ) -> BatchLoader:
        """Batches of a split: see `compress.core.context.Data.loader`."""
        if not isinstance(preprocessor, TextPreprocessor | ImagePreprocessor):
            raise TypeError(
                "the preprocessor must be a TextPreprocessor or an ImagePreprocessor. "
                f"Got {type(preprocessor).__name__}."
            )
        samples = self.splits[split]
        if limit is not None and limit < len(samples):
            samples = samples.take(np.arange(limit, dtype=np.int64))
        return BatchLoader(
            samples,
            preprocessor,
            batch_size=batch_size,
            shuffle_seed=shuffle_seed,
            fixed_length=fixed_length,
            sample_ids=sample_ids,
        )


def load_data(spec: DataSpec, *, task: Task, labels: tuple[str, ...], seed: int) -> Dataset:
    """Open the data that a recipe names, and make its four splits.

    Parameters
    ----------
    labels : the model's class names; empty: those found in the data.
    seed : of the carving of missing splits.

    Raises
    ------
    DataError : data that is missing, broken or empty, lacks a column, or has labels that the
        model doesn't know; one sentence that names the split, and the row where there is one.
    """
    if not task.metrics:
        whole = [name for name, known in TASKS.items() if known.metrics]
        raise DataError(f"data for '{task.name}' can't be read yet, only for {', '.join(whole)}.")
    source = _open(spec, task.modality)
    for split, rows in source.splits.items():
        if not len(rows):
            raise DataError(f"split '{split}' is empty.")
    encoded = encode_labels(list(source.splits.values()), labels)
    splits, notes = complete(source.splits, encoded.targets, spec, seed)
    decides = spec.model_dump(
        mode="json",
        include={
            "columns", "splits", "limit",
            "validation_fraction", "test_fraction", "calibration_samples",
        },
    )  # fmt: skip
    fingerprint = digest([source.fingerprint, decides, list(encoded.labels), seed])
    return Dataset(splits, encoded.labels, fingerprint, (*source.notes, *encoded.notes, *notes))


def _open(spec: DataSpec, modality: Modality) -> Source:
    if (spec.idx is not None or spec.sklearn is not None) and modality != "image":
        raise DataError(f"'{'idx' if spec.idx else 'sklearn'}' holds images; the task needs texts.")
    if spec.idx is not None:
        return open_idx(spec.idx, spec)
    if spec.sklearn is not None:
        return open_digits()
    if spec.python is not None:
        return open_python(spec.python, spec, modality)
    if spec.huggingface is not None:
        return open_huggingface(spec.huggingface, spec, modality)
    raise DataError("no source of data is named.")
