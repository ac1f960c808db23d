"""Timed calls of several models, with the ratios of their times and how sure these are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.measurement.intervals import median_ratio, sequential_halves
from compress.measurement.latency.results import Conditions
from compress.measurement.results import Interval, Latency

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTILES = 21
"""Number of quantiles that are kept of all timed calls, the fastest and the slowest among them."""
PILOT = 6
"""Sittings that every measurement has."""
Load = int | str
"""What is timed: a batch size, or a part of generating text."""


@dataclass(frozen=True, eq=False)
class Latencies:
    """All timed calls of several models.

    Attributes
    ----------
    runs_ms : milliseconds (R,) of each round, by batch size (or part of generating text) and model;
        index r is the same round for every model.
    sittings : the sitting (R,) of each round, by the same keys: 0, 1, …; one for all rounds if a
        key is missing.
    seed : seed of the bootstrap.
    notes : conditions that couldn't be kept equal.
    conditions : the machine while they were timed.
    """

    runs_ms: Mapping[Load, Mapping[str, NDArray[np.float64]]]
    sittings: Mapping[Load, NDArray[np.int64]] = field(default_factory=dict)
    seed: int = 0
    notes: tuple[str, ...] = field(default=())
    conditions: Conditions | None = None

    def latency(self, load: Load, model: str) -> Latency:
        """Median, 95th and 99th percentile and all quantiles in steps of 5 % over all rounds."""
        runs = self.runs_ms[load][model]
        p50, p95, p99 = np.quantile(runs, [0.5, 0.95, 0.99])
        return Latency(float(p50), float(p95), float(p99), quantiles=quantiles(runs))

    def p50_ci95(self, load: Load, model: str) -> Interval:
        """95 % interval of a model's median: over sittings, or by a bootstrap over one's rounds."""
        runs = self.runs_ms[load][model]
        p50 = float(np.median(runs))
        if self._count(load) < PILOT:
            return median_ratio(runs, np.ones_like(runs), seed=self.seed)[1]
        half = sequential_halves(self._medians(load, np.log(runs)), pilot=PILOT)
        return p50 * float(np.exp(-half)), p50 * float(np.exp(half))

    def speedup(self, load: Load, model: str, *, over: str) -> tuple[float, Interval]:
        """How many times as long `over` takes as `model`, and the 95 % interval.

        In each round one time is divided by the other: whatever slows the machine for longer than a
        round slows both. The median of a sitting's ratios leaves interrupted calls out. The value
        is the geometric mean of the sittings' medians, and the interval is Student's over sittings
        (`sequential_halves`), since rounds of one sitting aren't independent: they share the places
        that the models have in memory. Few sittings are one, with a bootstrap over its rounds.
        """
        slow, fast = self.runs_ms[load][over], self.runs_ms[load][model]
        if self._count(load) < PILOT:
            return median_ratio(slow, fast, seed=self.seed)
        logs = self._medians(load, np.log(slow / fast))
        half = sequential_halves(logs, pilot=PILOT)
        middle = float(logs.mean())
        low, value, high = np.exp([middle - half, middle, middle + half]).tolist()
        return value, (low, high)

    def half_width(self, load: Load) -> float:
        """Half of the widest interval of the first model's speedups, as a fraction; 0 if alone."""
        first, *others = self.runs_ms[load]
        ends = [self.speedup(load, first, over=other)[1] for other in others]
        return max((float(np.sqrt(high / low)) - 1 for low, high in ends), default=0.0)

    def swing(self, load: Load) -> float:
        """Slowest ÷ fastest of the sittings' median times of the first model."""
        medians = self._medians(load, np.log(next(iter(self.runs_ms[load].values()))))
        return float(np.exp(medians.max() - medians.min()))

    def _count(self, load: Load) -> int:
        return len(self._parts[load]) if load in self._parts else 1

    def _medians(self, load: Load, values: NDArray[Any]) -> NDArray[np.float64]:
        """The median (K,) of each sitting's values (R,)."""
        parts = self._parts.get(load, [slice(None)])
        return np.array([np.median(values[part]) for part in parts])

    @cached_property
    def _parts(self) -> dict[Load, list[Any]]:
        return {
            load: [np.flatnonzero(of == number) for number in np.unique(of)]
            for load, of in self.sittings.items()
        }


def quantiles(runs_ms: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the 0 %, 5 % … 100 % quantiles of timed calls (R,), with four digits."""
    found = np.quantile(runs_ms, np.linspace(0, 1, QUANTILES))
    return tuple(float(f"{value:.4g}") for value in found)
