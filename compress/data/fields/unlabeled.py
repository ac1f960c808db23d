"""Adds samples without labels to the training data of a task on the contract."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from compress.core.batch import IGNORED
from compress.data.fields.choose import Fields
from compress.data.fields.other import InputRows, open_inputs
from compress.data.fingerprint import digest
from compress.data.rows import JoinedRows
from compress.data.splits import Samples
from compress.errors import DataError

if TYPE_CHECKING:
    from compress.core.artifact import Preprocessor
    from compress.data.fields.dataset import TaskData
    from compress.data.spec import DataSpec


def with_unlabeled_inputs(
    data: TaskData, spec: DataSpec, *, seed: int, preprocessor: Preprocessor
) -> TaskData:
    """The data with another source's train split added to its own.

    No label of the train split is read then, of the data's own samples neither: a task says how a
    batch is labelled, and not how a part of one is. All other splits stay as they are. The data's
    own samples keep their positions, and so their ids.

    Parameters
    ----------
    spec : the other source. Its labels, its preprocessing and its other splits aren't read.
    seed : seed of the run, which the fingerprint covers.
    preprocessor : makes inputs of samples, which the task checks.

    Raises
    ------
    DataError : the other source can't be read, has no train samples, or has other inputs; or the
        task can't use a sample.
    """
    inputs = data.fields.inputs
    source = open_inputs(spec, task=data.task, inputs=inputs)
    rows = source.splits.get("train")
    if rows is None:
        found = ", ".join(sorted(source.splits)) or "none"
        raise DataError(f"the unlabelled data has no samples in a split 'train'. Found: {found}.")
    train = data.splits["train"]
    count = min(spec.limit.get("train", len(rows)), len(rows))
    joined = Samples(
        JoinedRows(InputRows(train.rows, inputs), rows),
        np.concatenate([train.indices, len(train.rows) + np.arange(count)]),
        np.full(len(train) + count, IGNORED),
    )
    read = "; no label of train is read" if data.fields.labels else ""
    return replace(
        data,
        splits={**data.splits, "train": joined},
        train_fields=Fields({name: name for name in inputs}, {}),
        fingerprint=digest(
            [data.fingerprint, source.fingerprint, spec.columns.model_dump(), count, seed]
        ),
        notes=(*data.notes, f"train: {count} samples from the other source{read}."),
    ).bound(preprocessor)
