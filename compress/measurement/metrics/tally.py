"""Tallies of metrics: they count batch by batch, so that answers needn't be kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from compress.core.batch import ATTENTION_MASK
from compress.errors import DataError, StageError
from compress.measurement.intervals import percentile, resampled, wilson
from compress.measurement.results import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    Floats = NDArray[np.floating[Any]]
    Integers = NDArray[np.int64]

_ALIKE = 1e-9
"""Distance of two values that were summed in another order."""


class Score(NamedTuple):
    """A metric's value with its 95 % interval, and what it is compared by with another model's.

    Attributes
    ----------
    held : for a fraction of samples, for which of them it holds (M,).
    draws : for any other metric, its values by the bootstrap's resamples (R,), drawn by the seed
        from the number of samples alone, so that each draw has the same samples for every model.
        NaN where the metric has no value.
    """

    value: float
    ci95: Interval
    held: NDArray[np.bool_] | None = None
    draws: Floats | None = None


@dataclass(frozen=True, eq=False)
class Answer:
    """A model's answer to one batch.

    Attributes
    ----------
    scores : the model's first output, (N, C), (N, S, C) or (N, S, H).
    batch : arrays by name; with `labels` if there are any.
    reference : the reference's answer to the same samples; None if it isn't needed.
    outputs : every output by its name, for tasks of one's own.
    """

    scores: Floats
    batch: Mapping[str, NDArray[Any]]
    reference: Answer | None = None
    outputs: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def labels(self) -> NDArray[Any]:
        """The batch's labels.

        Raises
        ------
        DataError : the batch has none.
        """
        if "labels" not in self.batch:
            raise DataError(f"a batch has no 'labels'. It has: {', '.join(self.batch)}.")
        return np.asarray(self.batch["labels"])

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask (N, S): True for tokens and False for padding."""
        mask = self.batch.get(ATTENTION_MASK)
        shape = self.scores.shape[:2]
        return np.ones(shape, bool) if mask is None else np.asarray(mask) != 0

    @property
    def wanted(self) -> Answer:
        """The reference's answer.

        Raises
        ------
        TypeError : there is none.
        StageError : it has another number of samples.
        """
        if self.reference is None:
            raise TypeError("this metric needs the reference's answers. Got none.")
        if len(self.reference.scores) != len(self.scores):
            raise StageError(
                f"model and reference answer {len(self.scores)} and {len(self.reference.scores)} "
                "samples of one batch."
            )
        return self.reference


class Tally(Protocol):
    """One metric of one model, over the batches that it is given."""

    @property
    def samples(self) -> int:
        """Number of samples that counted."""
        ...

    def add(self, answer: Answer) -> None:
        """Count a batch."""
        ...

    def score(self, *, seed: int) -> Score:
        """The metric over all counted samples; there must be at least one."""
        ...


class Sums:
    """A metric of numbers that are summed over samples. Its interval is a bootstrap over samples.

    Parameters
    ----------
    rows : a function from an answer to the numbers (M, K) of the M samples that count.
    value : a function from sums (R, K) to values (R,); NaN if there is nothing to divide by.
    """

    def __init__(self, rows: Callable[[Answer], Floats], value: Callable[[Floats], Floats]) -> None:
        self._rows, self._value = rows, value
        self._parts: list[Any] = []
        self.samples = 0

    def add(self, answer: Answer) -> None:
        """See `Tally`."""
        from scipy.sparse import csr_array

        # Most numbers are zeros, since a sample has few of many classes.
        rows = self._rows(answer)
        self._parts.append(csr_array(np.asarray(rows, dtype=np.float64)))
        self.samples += len(rows)

    def score(self, *, seed: int) -> Score:
        """See `Tally`; raises DataError if the sums leave nothing to divide by."""
        from scipy.sparse import vstack

        rows = vstack(self._parts, format="csr")
        value = float(self._value(np.asarray(rows.sum(axis=0)).reshape(1, -1))[0])
        if np.isnan(value):
            raise DataError("no sample has anything that the metric counts.")
        draws = bootstrapped(rows, self._value, seed=seed)
        return Score(value, percentile(draws[~np.isnan(draws)]), _held(rows, value), draws)


def bootstrapped(
    rows: csr_array, value: Callable[[Floats], Floats], *, seed: int
) -> NDArray[np.float64]:
    """Values (R,) of a metric of sums, over resamples of the rows (M, K)."""
    drawn = [value((rows.T @ weights.T).T) for weights in resampled(rows.shape[0], seed=seed)]
    return np.concatenate(drawn)


def _held(rows: csr_array, value: float) -> NDArray[np.bool_] | None:
    """For which samples (M,) something holds, if the metric is just their fraction; else None."""
    if rows.shape[1] != 2:
        return None
    first, second = rows.toarray().T
    is_fraction = (second == 1).all() and ((first == 0) | (first == 1)).all()
    return first == 1 if is_fraction and abs(first.mean() - value) < _ALIKE else None


class Share:
    """The fraction of samples for which something holds, with Wilson's interval.

    Parameters
    ----------
    holds : a function from an answer to booleans (M,) for the M samples that count.
    """

    def __init__(self, holds: Callable[[Answer], NDArray[np.bool_]]) -> None:
        self._holds = holds
        self._held: list[NDArray[np.bool_]] = []
        self.samples = 0

    def add(self, answer: Answer) -> None:
        """See `Tally`."""
        held = self._holds(answer)
        self._held.append(held)
        self.samples += len(held)

    def score(self, *, seed: int) -> Score:
        """See `Tally`; the seed is unused."""
        return share(np.concatenate(self._held))


def share(held: NDArray[np.bool_]) -> Score:
    """The fraction of samples (M,) for which something holds, with Wilson's interval."""
    count = int(held.sum())
    return Score(count / len(held), wilson(count, len(held)), held)


def ratio(above: Floats, below: Floats) -> Floats:
    """Quotients; NaN where the divisor is 0."""
    out = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def f1(sums: Floats) -> Floats:
    """F1 (R,) from sums (R, 3): hits, predicted, labelled."""
    return ratio(2 * sums[:, 0], sums[:, 1] + sums[:, 2])


def f1_of_classes(sums: Floats) -> Floats:
    """Mean F1 (R,) of the classes that occur, from sums (R, 3C): hits, predicted, labelled."""
    hits, predicted, labelled = np.split(sums, 3, axis=1)
    each = ratio(2 * hits, predicted + labelled)
    occurs = ~np.isnan(each)
    return ratio(np.where(occurs, each, 0).sum(1), occurs.sum(1))
