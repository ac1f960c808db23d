"""Adds unlabelled samples to the training data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compress.core.context import Task
from compress.data.dataset import Dataset, open_source
from compress.data.fingerprint import digest
from compress.data.labels.targets import join_targets, no_targets
from compress.data.rows import JoinedRows, input_columns
from compress.data.spec import Columns, DataSpec
from compress.data.splits import Samples
from compress.data.texts.pairs import of_pairs
from compress.errors import DataError


def with_unlabeled(data: Dataset, spec: DataSpec, *, task: Task, seed: int) -> Dataset:
    """The data with another source's train split added to its own, without labels.

    All other splits stay as they are. The labelled samples keep their positions, and so their ids.

    Parameters
    ----------
    spec : the other source. Its labels, its preprocessing and its other splits aren't read.
    seed : seed of the run, which the fingerprint covers.

    Raises
    ------
    DataError : the other source can't be read, has no train samples, or has other columns.
    """
    source = open_source(spec.model_copy(update={"columns": _without_label(spec)}), task)
    rows = source.splits.get("train")
    if rows is None or not len(rows):
        found = ", ".join(sorted(source.splits)) or "none"
        raise DataError(f"the unlabelled data has no samples in a split 'train'. Found: {found}.")
    train = data.splits["train"]
    if of_pairs(train):
        raise DataError("pairs of queries and documents can't be joined by unlabelled texts.")
    _require_same_columns(train, spec, task)
    count = min(spec.limit.get("train", len(rows)), len(rows))
    joined = Samples(
        JoinedRows(train.rows, rows),
        np.concatenate([train.indices, len(train.rows) + np.arange(count)]),
        join_targets(
            train.targets, no_targets(count, target=data.target, classes=len(data.labels))
        ),
    )
    decides = [data.fingerprint, source.fingerprint, spec.columns.model_dump(), count, seed]
    return replace(
        data,
        splits={**data.splits, "train": joined},
        fingerprint=digest(decides),
        notes=(*data.notes, f"train: {count} samples without labels from the other source."),
    )


def _without_label(spec: DataSpec) -> Columns:
    return spec.columns.model_copy(update={"label": None})


def _require_same_columns(train: Samples, spec: DataSpec, task: Task) -> None:
    ours = set(train.fetch(np.zeros(1, np.int64)))
    theirs = set(input_columns(spec.columns, task))
    if ours != theirs:
        raise DataError(
            f"the unlabelled data must give {', '.join(sorted(ours))}, as the labelled does. "
            f"Got {', '.join(sorted(theirs))}."
        )
