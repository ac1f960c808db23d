"""The data of a task that says itself what a sample is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from compress.core.batch import IGNORED, SAMPLE, SAMPLE_IDS
from compress.core.foreign.boundary import foreign
from compress.data.fields.choose import Fields, choose_fields
from compress.data.fields.classes import ClassNames, find_classes
from compress.data.fields.grouped import grouped
from compress.data.fields.windows import Windows, examined
from compress.data.fingerprint import digest
from compress.data.raw import RawSamples
from compress.data.spec import DataSpec
from compress.data.splits import Samples, complete, content, identity
from compress.errors import DataError, StageError
from compress.tasks.contract import WINDOW

if TYPE_CHECKING:
    from compress.core.artifact import Preprocessor
    from compress.core.context import Split
    from compress.data.rows import Indices
    from compress.data.sources.source import Source
    from compress.tasks.contract import Task

_TEXTS = 1024


@dataclass(frozen=True)
class TaskData:
    """The four splits; implements `compress.core.context.Data`.

    Attributes
    ----------
    splits : rows of each split.
    task : makes batches of samples.
    fields : the columns that a sample is made of.
    classes : the names of classes in the labels.
    labels : class names in the order of the first output's scores; empty: there are none.
    fingerprint : see `compress.core.context.Data`.
    notes : what was carved, limited or decided, and why.
    preprocessor : decides how many windows there are, if the task cuts samples; see `bound`.
    train_fields : the fields of the train split, if it has other columns; None: those of all.
    content : hex digest of what all rows hold.
    """

    splits: dict[str, Samples]
    task: Task
    fields: Fields
    classes: ClassNames
    labels: tuple[str, ...]
    fingerprint: str
    notes: tuple[str, ...] = ()
    preprocessor: Preprocessor | None = None
    train_fields: Fields | None = None
    content: str = ""
    target: str = field(default="own", init=False)
    _windows: dict[tuple[str, str], Windows] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def labelled(self) -> bool:
        """See `compress.core.context.Data`."""
        return bool(self.fields.labels) or self.task.label_column is None

    def bound(self, preprocessor: Preprocessor) -> TaskData:
        """The same data, each sample checked by the task, bound to what decides its windows.

        Raises
        ------
        DataError : the task can't use a sample.
        """
        if not (self.task.checks_samples or self.task.cuts_samples):
            return self
        bound = replace(
            self,
            preprocessor=preprocessor,
            fingerprint=digest([self.fingerprint, preprocessor.fingerprint]),
        )
        splits: tuple[Split, ...] = ("train", "validation", "test", "calibration")
        for split in splits:
            bound.windows(split, preprocessor)
        return bound if self.task.cuts_samples else self

    def identity(self, split: Split) -> str:
        """See `compress.core.context.Data`."""
        return identity(self.splits[split], self.content)

    def windows(self, split: Split, preprocessor: Preprocessor) -> Windows:
        """The windows of a split. They are counted once for each preprocessor."""
        key = (split, preprocessor.fingerprint)
        if key not in self._windows:
            self._windows[key] = examined(
                self.task,
                split,
                self.splits[split],
                lambda positions: self.samples(split, positions),
                preprocessor=preprocessor,
            )
        return self._windows[key]

    def size(self, split: Split) -> int:
        """Number of samples in a split; of windows, if the task cuts samples into such.

        Raises
        ------
        TypeError : the number depends on a preprocessor, and the data isn't `bound` to one.
        """
        if not self.task.cuts_samples:
            return len(self.splits[split])
        if self.preprocessor is None:
            raise TypeError("the size of a split in windows depends on a preprocessor.")
        return len(self.windows(split, self.preprocessor))

    def samples(self, split: Split, positions: Indices) -> list[dict[str, Any]]:
        """The samples at some positions of a split, their classes as numbers."""
        fields = self.train_fields if split == "train" and self.train_fields else self.fields
        return self.classes.encode(fields.samples(self.splits[split].fetch(positions)))

    def texts(self, split: Split) -> Iterator[str]:
        """All texts among the inputs of a split, one after another."""
        size = len(self.splits[split])
        for start in range(0, size, _TEXTS):
            positions = np.arange(start, min(start + _TEXTS, size), dtype=np.int64)
            for sample in self.samples(split, positions):
                for name in self.fields.inputs:
                    yield from texts_in(sample[name])

    def raw(self, split: Split, *, limit: int, places: Sequence[int] | None = None) -> RawSamples:
        """See `compress.core.context.Data.raw`; a mapping of fields for each, without labels."""
        among = np.arange(len(self.splits[split])) if places is None else np.array(places)
        positions = among[:limit].astype(np.int64)
        samples = self.samples(split, positions)
        values = ({name: sample[name] for name in self.fields.inputs} for sample in samples)
        return RawSamples("fields" if self.task.script_file else "tensors", tuple(values))

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
    ) -> TaskLoader:
        """Batches of a split: see `compress.core.context.Data.loader`.

        With windows, `limit` counts these, and the last sample keeps all of its own.
        """
        return TaskLoader(
            self,
            split,
            preprocessor,
            limit=limit,
            batch_size=batch_size,
            shuffle_seed=shuffle_seed,
            fixed_length=fixed_length,
            sample_ids=sample_ids,
        )


class TaskLoader:
    """Implements `compress.core.context.Loader` with the task's own `collate`.

    Attributes
    ----------
    epoch : number of the next epoch, which decides with `shuffle_seed` on its order.
    """

    def __init__(
        self,
        data: TaskData,
        split: Split,
        preprocessor: Preprocessor,
        *,
        limit: int | None,
        batch_size: int,
        shuffle_seed: int | None,
        fixed_length: bool,
        sample_ids: bool,
    ) -> None:
        self._data, self._split, self._preprocessor = data, split, preprocessor
        self._windows = data.windows(split, preprocessor) if data.task.cuts_samples else None
        size = len(data.splits[split] if self._windows is None else self._windows)
        if limit is not None and limit < size:
            size = limit if self._windows is None else self._windows.whole(limit)
        self._size, self._batch_size = size, batch_size
        self._shuffle_seed, self._fixed_length = shuffle_seed, fixed_length
        self._sample_ids = sample_ids
        self.epoch = 0

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return -(-self._size // self._batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """One epoch. An incomplete batch comes last."""
        order = self._order()
        self.epoch += 1
        return self._batches(order)

    def _order(self) -> Indices:
        """The order of an epoch: of windows, or of whole samples where the task says so."""
        order = np.arange(self._size, dtype=np.int64)
        if self._shuffle_seed is None:
            return order
        random = np.random.default_rng((self._shuffle_seed, self.epoch))
        if self._windows is None or not self._data.task.keeps_samples_whole:
            random.shuffle(order)
            return order
        samples, _ = self._windows.places(order)
        ranks = random.permutation(samples[-1] + 1)
        return order[np.argsort(ranks[samples], kind="stable")]

    def _batches(self, order: Indices) -> Iterator[dict[str, Tensor]]:
        for start in range(0, len(order), self._batch_size):
            positions = order[start : start + self._batch_size]
            batch = self._collated(positions)
            if self._sample_ids:
                batch[SAMPLE_IDS] = torch.from_numpy(positions)
            yield batch

    def _collated(self, positions: Indices) -> dict[str, Tensor]:
        task = self._data.task
        at, number = (positions, None) if self._windows is None else self._windows.places(positions)
        samples = self._data.samples(self._split, at)
        if number is not None:
            numbered = zip(samples, number.tolist(), strict=True)
            samples = [{**sample, WINDOW: window} for sample, window in numbered]
        where = f"'collate' of {task.name} (split '{self._split}')"
        collate = task.collate_for_training if self._split == "train" else task.collate
        with foreign(where, error=DataError):
            batch = collate(
                samples, preprocessor=self._preprocessor, fixed_length=self._fixed_length
            )
        for name, value in batch.items():
            if not isinstance(value, Tensor) or value.ndim == 0 or len(value) != len(positions):
                given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise StageError(
                    f"{where} must return tensors of {len(positions)} samples. "
                    f"Got {given} for {name!r}."
                )
        return {**batch, **({} if number is None else {SAMPLE: torch.from_numpy(at)})}


def task_data(
    source: Source, spec: DataSpec, *, task: Task, labels: tuple[str, ...], seed: int
) -> TaskData:
    """The four splits of a task's data.

    Parameters
    ----------
    labels : the model's class names; empty: those found in the data.

    Raises
    ------
    DataError : a split is empty or lacks a column, or a class of labels is unknown.
    """
    source = grouped(source, spec.columns, task)
    targets = {split: np.full(len(rows), IGNORED) for split, rows in source.splits.items()}
    splits, notes = complete(source.splits, targets, spec, seed)
    available = tuple(splits["train"].fetch(np.zeros(1, np.int64)))
    fields = choose_fields(task, spec.columns, available, "train")
    keys = [
        key
        for output in task.outputs
        if task.class_names
        and output.role == "classes"
        and (key := task.label_of(output, fields.labels)) is not None
    ]
    classes = find_classes(splits["train"].rows, fields, keys, labels)
    decides = spec.model_dump(
        mode="json",
        include={
            "columns", "splits", "limit",
            "validation_fraction", "test_fraction", "calibration_samples",
        },
    )  # fmt: skip
    named = {key: list(names) for key, names in classes.names.items()}
    return TaskData(
        splits,
        task,
        fields,
        classes,
        labels or classes.names.get(keys[0] if keys else "", ()),
        digest([source.fingerprint, decides, named, _arguments(task), seed]),
        (*source.notes, *notes, _said(fields)),
        content=content(source.fingerprint, spec),
    )


def _arguments(task: Task) -> dict[str, str]:
    """A task's plain attributes, which may decide how samples become inputs."""
    plain = (bool, int, float, str)
    return {name: repr(value) for name, value in vars(task).items() if isinstance(value, plain)}


def _said(fields: Fields) -> str:
    inputs = ", ".join(
        name if named == name else f"{name} (of {named if isinstance(named, str) else len(named)})"
        for name, named in fields.inputs.items()
    )
    labels = ", ".join(str(named) for named in fields.labels.values()) or "none"
    return f"inputs: {inputs}; labels: {labels}."


def texts_in(value: Any) -> Iterator[str]:
    """The texts that an input of a sample is, or holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        yield from (each for each in value if isinstance(each, str))
