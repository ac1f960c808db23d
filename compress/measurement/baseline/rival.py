"""Trains a linear rival on the train split, in at most a minute on one core."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from compress.core.batch import IGNORED
from compress.core.foreign.boundary import foreign
from compress.core.progress import Progress, Silent
from compress.errors import DataError, StageError
from compress.measurement.baseline.clock import Clock
from compress.measurement.baseline.features import TfIdf, texts_within
from compress.measurement.baseline.inputs import Pixels, RivalInputs, Texts
from compress.measurement.baseline.linear import LOOKS, Linear, softmax_regression, support_vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.context import Split
    from compress.data.rows import Indices

    Floats = NDArray[np.floating[Any]]

SECONDS = 58.0
"""Time of one core in which the training ends."""
_SHARE_OF_FEATURES = 0.5
"""Share of the time in which texts become features."""
_MOST_CHARACTERS = 50_000_000
_MOST_NUMBERS = 100_000_000
"""Numbers of all samples that are trained on together, 400 MB."""
_TOGETHER = 1024
_CALLS = 50
"""Calls whose median is the time of one."""


@dataclass(frozen=True, eq=False)
class Rival:
    """A trained rival.

    Attributes
    ----------
    name : such as "tf-idf + linear SVM".
    scores : a function from inputs (see `RivalInputs.read`) to scores (M, C).
    majority : scores (C,) of every sample by the rival that only counts classes: their frequencies,
        less a half for sets.
    size_bytes : bytes of all that it is made of, as `pickle` writes it.
    seconds : time to train.
    notes : what was left out to end in time.
    """

    name: str
    scores: Callable[[Any], Floats]
    majority: Floats
    size_bytes: int
    seconds: float
    notes: tuple[str, ...] = ()


def runtime() -> str:
    """Return the library that runs the rival, and its version."""
    return f"scikit-learn {version('scikit-learn')}"


def train_rival(
    inputs: RivalInputs,
    *,
    classes: int,
    seed: int = 0,
    seconds: float = SECONDS,
    progress: Progress | None = None,
    among: Indices | None = None,
) -> Rival:
    """Train the rival that fits the inputs: TF-IDF and a linear SVM, or a linear model on numbers.

    Parameters
    ----------
    inputs : the samples of a run's data.
    classes : number of classes, C.
    seed : seed of the order of the samples.
    seconds : time in which the training ends.
    among : the samples of the train split that it may read; None: all.

    Raises
    ------
    DataError : no sample has a label, or the samples can't be read.
    StageError : scikit-learn can't train on them.
    """
    clock = Clock(seconds)
    labels = inputs.labels("train")
    known = labelled(labels)
    order = np.random.default_rng(seed).permutation(
        known if among is None else np.intersect1d(known, among)
    )
    if not len(order):
        raise DataError("no sample of train has a label.")
    train = _texts if isinstance(inputs, Texts) else _numbers
    steps = classes if labels.ndim == 2 else LOOKS
    if train is _texts:
        steps = 2 * classes  # features take about as long
    with (
        threadpool_limits(1),
        foreign("scikit-learn", error=StageError),
        (progress or Silent()).track("training the baseline", steps) as advance,
    ):
        return train(inputs, labels, order, classes, clock, advance)


def answers(rival: Rival, inputs: RivalInputs, *, samples: int) -> Floats:
    """Return the rival's scores (N, C) of the test split's first samples."""
    return scores_of(rival, inputs, split="test", positions=np.arange(samples, dtype=np.int64))


def scores_of(rival: Rival, inputs: RivalInputs, *, split: Split, positions: Indices) -> Floats:
    """Return the rival's scores (M, C) of the samples at M >= 1 positions of a split."""
    with threadpool_limits(1), foreign("scikit-learn", error=StageError):
        found = [
            rival.scores(inputs.read(split, positions[start : start + _TOGETHER]))
            for start in range(0, len(positions), _TOGETHER)
        ]
    return np.concatenate(found)


def call_ms(rival: Rival, inputs: RivalInputs) -> float:
    """Return the median time of scoring one test sample that lies in memory, in milliseconds."""
    size = len(inputs.labels("test"))
    samples = [inputs.read("test", np.array([at % size])) for at in range(_CALLS)]
    times = []
    with threadpool_limits(1):
        for sample in samples:
            start = time.thread_time()
            rival.scores(sample)
            times.append(time.thread_time() - start)
    return float(np.median(times) * 1000)


def _texts(inputs: Any, labels: Any, order: Any, classes: int, clock: Clock, advance: Any) -> Rival:
    columns = _read_up_to(inputs, order, _MOST_CHARACTERS)
    count = texts_within(columns, _SHARE_OF_FEATURES * clock.limit)
    columns = [texts[: max(count, 1)] for texts in columns]
    rows = order[: len(columns[0])]
    to_features = TfIdf()
    features = to_features.fit(columns)
    advance(classes)
    found = support_vectors(features, _wanted(labels[rows], classes), clock, advance)
    return _rival(
        "tf-idf + linear SVM",
        to_features,
        found,
        labels=labels[order],
        classes=classes,
        clock=clock,
    )


def _read_up_to(inputs: Texts, order: Any, most: int) -> list[list[str]]:
    """Texts at the first positions of an order, up to a number of characters."""
    columns: list[list[str]] = []
    read = 0
    for start in range(0, len(order), _TOGETHER):
        found = inputs.read("train", order[start : start + _TOGETHER])
        columns = [
            [*had, *new] for had, new in zip(columns or [[] for _ in found], found, strict=True)
        ]
        read += sum(len(text) for texts in found for text in texts)
        if read > most:
            break
    return columns


def _numbers(
    inputs: Any, labels: Any, order: Any, classes: int, clock: Clock, advance: Any
) -> Rival:
    width = inputs.read("train", order[:1]).shape[1]
    rows = order[: max(1, _MOST_NUMBERS // width)]
    features = inputs.read("train", rows)
    pixels = isinstance(inputs, Pixels)
    scale = _Scale.none(width) if pixels else _Scale.of(features)
    features = scale(features)
    if labels.ndim == 2:
        found = support_vectors(features, _wanted(labels[rows], classes), clock, advance)
    else:
        found = softmax_regression(
            features, labels[rows], classes=classes, clock=clock, advance=advance
        )
    name = "linear model on pixels" if pixels else "linear model"
    return _rival(name, scale, found, labels=labels[order], classes=classes, clock=clock)


@dataclass(frozen=True, eq=False)
class _Scale:
    """Numbers less their mean, over their standard deviation."""

    mean: Floats
    deviation: Floats

    @classmethod
    def none(cls, width: int) -> _Scale:
        return cls(np.zeros(width, np.float32), np.ones(width, np.float32))

    @classmethod
    def of(cls, features: Floats) -> _Scale:
        deviation = features.std(0)
        return cls(features.mean(0), np.where(deviation > 0, deviation, 1).astype(np.float32))

    def __call__(self, features: Floats) -> Floats:
        return (features - self.mean) / self.deviation


def _rival(
    name: str, to_features: Any, model: Linear, *, labels: Any, classes: int, clock: Clock
) -> Rival:
    notes = []
    if model.rows < len(labels):
        notes.append(
            f"{name}: trained on {model.rows:,} of {len(labels):,} train samples, to end in "
            f"{clock.limit:g} seconds"
        )
    frequencies = _wanted(labels, classes).mean(0).astype(np.float32)
    return Rival(
        name,
        lambda given: model(to_features(given)),
        frequencies if labels.ndim == 1 else frequencies - 0.5,
        len(pickle.dumps((to_features, model))),
        clock.seconds,
        tuple(notes),
    )


def labelled(labels: Any) -> Any:
    """Return the positions of samples with a label, of encoded labels (see `Target`)."""
    known = labels != IGNORED if labels.ndim == 1 else (labels >= 0).all(1)
    return np.flatnonzero(known)


def _wanted(labels: Any, classes: int) -> NDArray[np.bool_]:
    """Booleans (N, C) from classes (N,) or sets (N, C)."""
    if labels.ndim == 2:
        return np.asarray(labels > 0)
    return np.asarray(labels[:, None] == np.arange(classes))
