"""Tallies of the metrics that a task of one's own brings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import SAMPLE, about_in, labels_in
from compress.core.foreign.boundary import foreign
from compress.errors import StageError
from compress.measurement.intervals import percentile
from compress.measurement.metrics.tally import Answer, Score, Sums, Tally, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.tasks.contract import TaskMetric

    Arrays = Mapping[str, NDArray[Any]]

_RESAMPLES = 200
"""Number of resamples for a metric that is computed anew from all samples each time."""


def own_tally(metric: TaskMetric) -> Tally:
    """A new tally of a task's metric. What the metric's functions raise becomes a StageError."""
    if metric.rows is None:
        return _OfAll(metric)
    if metric.of_rows is not None:
        return _OfRows(metric)
    if metric.joined is not None:
        return _OfWindows(metric)
    return Sums(_SampleNumbers(metric), _Value(metric))


class OwnFigure:
    """A task's metric without its interval, over samples that several processes may have seen.

    Attributes
    ----------
    parts : what is kept of this process's samples: plain arrays, which another process can be sent.
    """

    def __init__(self, metric: TaskMetric) -> None:
        self._metric = metric
        self.parts: list[Any] = []

    def add(self, answer: Answer) -> None:
        """Count a batch. What the metric's functions raise becomes a StageError."""
        if self._metric.rows is None:
            self.parts.append((answer.outputs, _beside(self._metric, answer)))
        else:
            rows = _SampleNumbers(self._metric)(answer)
            self.parts.append((answer.batch.get(SAMPLE, np.arange(len(rows))), rows))

    def value(self, parts: Sequence[Any]) -> float:
        """Return the metric over the parts of all processes; NaN where it has no value."""
        firsts, seconds = zip(*parts, strict=True)
        if self._metric.rows is None:
            return _OfAll(self._metric).of(
                *(_whole(each, self._metric) for each in (firsts, seconds))
            )
        if self._metric.of_rows is not None:
            return _OfRows(self._metric).of(_one_width(seconds, self._metric))
        rows = np.concatenate(seconds)
        if self._metric.joined is not None:
            rows = _of_samples(self._metric, np.concatenate(firsts), rows)
        return float(_Value(self._metric)(rows.sum(0)[None])[0])


class _SampleNumbers:
    """The numbers (M, K) of a batch's samples."""

    def __init__(self, metric: TaskMetric) -> None:
        self._metric = metric

    def __call__(self, answer: Answer) -> NDArray[np.float64]:
        name, rows = self._metric.name, self._metric.rows
        if rows is None:
            raise TypeError(f"metric {name!r} has no 'rows'.")
        with foreign(f"metric {name!r}", error=StageError):
            found = np.asarray(rows(answer.outputs, _beside(self._metric, answer)), np.float64)
        if found.ndim == 1:
            found = found[:, None]
        if found.ndim != 2:
            raise StageError(
                f"metric {name!r}: 'rows' must return an array (samples, numbers). "
                f"Got the shape {found.shape}."
            )
        if not np.isfinite(found).all():
            raise StageError(f"metric {name!r}: 'rows' must return finite numbers. Got others.")
        whole = self._metric.joined or self._metric.of_rows
        return found if whole else _with_count(self._metric, found)


class _Value:
    """The metric (R,) from sums (R, K)."""

    def __init__(self, metric: TaskMetric) -> None:
        self._metric = metric

    def __call__(self, sums: NDArray[Any]) -> NDArray[Any]:
        value = self._metric.value
        if value is None:
            return ratio(sums[:, 0], sums[:, -1])
        with foreign(f"metric {self._metric.name!r}", error=StageError):
            return np.asarray(value(sums), np.float64)


class _OfWindows:
    """A metric whose rows are of windows; those of one sample are joined before they are summed."""

    def __init__(self, metric: TaskMetric) -> None:
        self._metric, self._rows_of = metric, _SampleNumbers(metric)
        self._samples: list[NDArray[np.int64]] = []
        self._rows: list[NDArray[np.float64]] = []

    @property
    def samples(self) -> int:
        """Number of samples, whatever their windows."""
        return len(np.unique(np.concatenate(self._samples))) if self._samples else 0

    def add(self, answer: Answer) -> None:
        """See `Tally`. In a batch that names no samples, each window is one."""
        rows = self._rows_of(answer)
        seen = sum(map(len, self._samples))
        self._samples.append(answer.batch.get(SAMPLE, seen + np.arange(len(rows))))
        self._rows.append(rows)

    def score(self, *, seed: int) -> Score:
        """See `Tally`; the interval is a bootstrap over samples."""
        samples, rows = np.concatenate(self._samples), np.concatenate(self._rows)
        whole = _of_samples(self._metric, samples, rows)
        sums = Sums(lambda _: whole, _Value(self._metric))
        sums.add(Answer(whole, {}))
        return sums.score(seed=seed)


def _of_samples(
    metric: TaskMetric, samples: NDArray[np.int64], rows: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The numbers of each sample from the rows of its windows, as they are summed."""
    joined = metric.joined
    if joined is None:
        raise TypeError(f"metric {metric.name!r} has no 'joined'.")
    order = np.argsort(samples, kind="stable")
    _, firsts = np.unique(samples[order], return_index=True)
    with foreign(f"metric {metric.name!r}", error=StageError):
        each = [joined(windows) for windows in np.split(rows[order], firsts[1:])]
        return _with_count(metric, np.stack(each).astype(np.float64))


class _OfAll:
    """A metric that needs all outputs and labels together, which are kept in memory."""

    def __init__(self, metric: TaskMetric) -> None:
        self._metric = metric
        self._outputs: list[Arrays] = []
        self._labels: list[Arrays] = []
        self.samples = 0

    def add(self, answer: Answer) -> None:
        """See `Tally`."""
        self._outputs.append(answer.outputs)
        self._labels.append(_beside(self._metric, answer))
        self.samples += len(answer.scores)

    def score(self, *, seed: int) -> Score:
        """See `Tally`; the interval is a bootstrap over samples.

        Raises
        ------
        StageError : the metric's function fails, or gives no finite number for all samples.
        """
        outputs, labels = (_whole(each, self._metric) for each in (self._outputs, self._labels))

        def of(at: NDArray[Any]) -> float:
            return self.of(_at(outputs, at), _at(labels, at))

        return _drawn(self._metric, of, self.samples, seed=seed)

    def of(self, outputs: Arrays, labels: Arrays) -> float:
        """The metric of all samples' outputs and labels."""
        of_all = self._metric.of_all
        if of_all is None:
            raise TypeError(f"metric {self._metric.name!r} has no 'of_all'.")
        with foreign(f"metric {self._metric.name!r}", error=StageError):
            return float(of_all(outputs, labels))


class _OfRows:
    """A metric of the numbers of all samples, of which nothing else is kept."""

    def __init__(self, metric: TaskMetric) -> None:
        self._metric, self._rows_of = metric, _SampleNumbers(metric)
        self._rows: list[NDArray[np.float64]] = []

    @property
    def samples(self) -> int:
        """Number of samples."""
        return sum(map(len, self._rows))

    def add(self, answer: Answer) -> None:
        """See `Tally`."""
        self._rows.append(self._rows_of(answer))

    def score(self, *, seed: int) -> Score:
        """See `Tally`; the interval is a bootstrap over samples.

        Raises
        ------
        StageError : the metric's function fails, or gives no finite number for all samples.
        """
        rows = _one_width(self._rows, self._metric)
        return _drawn(self._metric, lambda at: self.of(rows[at]), len(rows), seed=seed)

    def of(self, rows: NDArray[np.float64]) -> float:
        """The metric of the numbers of some samples."""
        of_rows = self._metric.of_rows
        if of_rows is None:
            raise TypeError(f"metric {self._metric.name!r} has no 'of_rows'.")
        with foreign(f"metric {self._metric.name!r}", error=StageError):
            return float(of_rows(rows))


def _drawn(
    metric: TaskMetric, of: Callable[[NDArray[Any]], float], samples: int, *, seed: int
) -> Score:
    """The metric of all samples, and of resamples of them; `of` is given the samples' places."""
    value = of(np.arange(samples))
    if not math.isfinite(value):
        raise StageError(f"metric {metric.name!r} must be a finite number. Got {value}.")
    random = np.random.default_rng(seed)
    draws = np.array([of(random.integers(0, samples, samples)) for _ in range(_RESAMPLES)])
    return Score(value, percentile(draws[np.isfinite(draws)]), draws=draws)


def _one_width(parts: Sequence[NDArray[np.float64]], metric: TaskMetric) -> NDArray[np.float64]:
    """All batches' numbers, one after another."""
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        raise StageError(
            f"metric {metric.name!r}: 'rows' must return as many numbers for every batch. "
            f"Got {', '.join(map(str, sorted(widths)))}."
        )
    return np.concatenate(parts)


def _with_count(metric: TaskMetric, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows, with a count of samples for a metric that is a mean."""
    return rows if metric.value else np.hstack([rows, np.ones((len(rows), 1))])


def _beside(metric: TaskMetric, answer: Answer) -> Arrays:
    """The labels of a batch, or the reference's outputs; and what else the task says of it."""
    own = labels_in(answer.batch) if metric.needs_labels else answer.wanted.outputs
    return {**own, **(about_in(answer.batch) if metric.rows else {})}


def _whole(parts: Sequence[Arrays], metric: TaskMetric) -> Arrays:
    """All batches' arrays, one after another."""
    for name, first in parts[0].items():
        for part in parts:
            if part[name].shape[1:] != first.shape[1:]:
                raise StageError(
                    f"metric {metric.name!r} needs all samples' {name!r} at once ('of_all'), and "
                    f"batches have the shapes {first.shape} and {part[name].shape}. Use 'rows'."
                )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _at(arrays: Arrays, at: NDArray[Any]) -> Arrays:
    return {name: values[at] for name, values in arrays.items()}
