"""Raw inputs and labels of a split, as a linear model reads them: texts, or a row of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from compress.core.batch import IGNORED, LABELS
from compress.data.dataset import Dataset
from compress.data.fields.dataset import TaskData
from compress.data.images.transform import Transform, as_array
from compress.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.context import Data, Split, Task
    from compress.data.rows import Indices

    Floats = NDArray[np.floating[Any]]
    Labels = NDArray[Any]

MOST_PIXELS = 64
"""Largest height and width of images that a linear model is trained on."""
_POOLED_ABOVE = 32
"""Larger images are averaged over squares of two by two pixels."""
_TOGETHER = 1024
"""Samples that are fetched at a time."""
_FIELD_OF_PAIRS = "text_pair"


class RivalInputs(Protocol):
    """The samples of a run's data as a linear model reads them."""

    def labels(self, split: Split) -> Labels:
        """The encoded labels of a split: (N,) classes, or (N, C) sets; see `Target`."""
        ...

    def read(self, split: Split, positions: Indices) -> Any:
        """RivalInputs at some positions of a split: a list of texts for each column, or (M, D)."""
        ...


def inputs_of(data: Data, task: Task) -> RivalInputs | None:
    """The inputs of a task's samples; None if no linear model is trained for such a task.

    Raises
    ------
    DataError : the samples are larger than a linear model should be given, or not alike.
    """
    if isinstance(data, Dataset) and task.target in ("class", "class-set"):
        return Texts(data) if task.modality == "text" else Pixels(data)
    if isinstance(data, TaskData) and task.modality == "tensors":
        roles = [output.role for output in data.task.outputs]
        return Numbers(data) if roles == ["classes"] else None
    return None


class Texts:
    """Texts, or pairs of them: one column of texts for each."""

    def __init__(self, data: Dataset) -> None:
        self._data = data

    def labels(self, split: Split) -> Labels:
        """See `RivalInputs`."""
        return np.asarray(self._data.splits[split].targets)

    def read(self, split: Split, positions: Indices) -> list[list[str]]:
        """See `RivalInputs`."""
        columns: dict[str, list[str]] = {}
        for chosen in _chunks(positions):
            for name, texts in self._data.splits[split].fetch(chosen).items():
                columns.setdefault(name, []).extend(texts)
        return [columns[name] for name in ("text", _FIELD_OF_PAIRS) if name in columns]


class Pixels:
    """Images of one size and number of channels as rows of numbers in [0, 1].

    Images of other sizes than the train split's first are resized to its.

    Raises
    ------
    DataError : that image is larger than `MOST_PIXELS` in height or width.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        [first] = data.splits["train"].fetch(np.zeros(1, np.int64))["image"]
        height, width, channels = (int(size) for size in as_array(first, None).shape)
        if max(height, width) > MOST_PIXELS:
            raise DataError(
                f"a linear model is trained on images of at most {MOST_PIXELS} by {MOST_PIXELS} "
                f"pixels. Got {height} by {width}."
            )
        self._transform = Transform(size=(height, width), channels=channels)

    def labels(self, split: Split) -> Labels:
        """See `RivalInputs`."""
        return np.asarray(self._data.splits[split].targets)

    def read(self, split: Split, positions: Indices) -> Floats:
        """See `RivalInputs`."""
        samples = self._data.splits[split]
        rows = [self._rows(samples.fetch(chosen)["image"]) for chosen in _chunks(positions)]
        return np.concatenate(rows)

    def _rows(self, images: Any) -> Floats:
        pixels = self._transform(images).numpy()
        if max(pixels.shape[2:]) > _POOLED_ABOVE:
            pixels = _pooled(pixels)
        return pixels.reshape(len(pixels), -1)


class Numbers:
    """All inputs of a task on tensors, one after another, as rows of numbers."""

    def __init__(self, data: TaskData) -> None:
        self._data = data
        self._names = sorted(data.fields.inputs)
        self._label = next(iter(data.fields.labels), LABELS)
        self._width: int | None = None

    def labels(self, split: Split) -> Labels:
        """See `RivalInputs`."""
        every = np.arange(len(self._data.splits[split]), dtype=np.int64)
        found = [
            sample.get(self._label, IGNORED)
            for chosen in _chunks(every)
            for sample in self._data.samples(split, chosen)
        ]
        labels = np.asarray(found)
        if labels.ndim != 1:
            raise DataError("a linear model is trained on one class a sample.")
        return labels.astype(np.int64)

    def read(self, split: Split, positions: Indices) -> Floats:
        """See `RivalInputs`."""
        return np.stack(
            [
                self._row(sample)
                for chosen in _chunks(positions)
                for sample in self._data.samples(split, chosen)
            ]
        )

    def _row(self, sample: Any) -> Floats:
        row = np.concatenate([np.ravel(np.asarray(sample[name])) for name in self._names])
        row = row.astype(np.float32)
        if self._width is None:
            self._width = len(row)
        if len(row) != self._width:
            raise DataError(
                "a linear model needs samples of one size. "
                f"Got {self._width} and {len(row)} numbers."
            )
        if not np.isfinite(row).all():
            raise DataError("a linear model needs finite numbers. A sample has others.")
        return row


def _chunks(positions: Indices) -> Iterator[Indices]:
    for start in range(0, len(positions), _TOGETHER):
        yield positions[start : start + _TOGETHER]


def _pooled(pixels: Floats) -> Floats:
    """Means over squares of two by two; (N, C, H, W), an odd last row or column is left out."""
    count, channels, height, width = pixels.shape
    even = pixels[:, :, : height // 2 * 2, : width // 2 * 2]
    squares = even.reshape(count, channels, height // 2, 2, width // 2, 2)
    return np.asarray(squares.mean(axis=(3, 5)))
