"""What report.json holds of a row's speed beside latency and speedup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from compress.measurement.results import Count, Latency, Speedup

_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True)
class Throughput:
    """The most samples a second that a model answers, of the batch sizes that were measured."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    samples_per_second: float
    """Batch size / median time of a call."""
    batch_size: Count
    """The batch size at which that is most."""


@dataclass(frozen=True)
class Typical:
    """The speed on inputs of the data's own median length or size, not padded to the longest."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    size: tuple[Count, ...]
    """Tokens, or height and width in pixels."""
    full: tuple[Count, ...]
    """The full length or size, at which the row's `latency_ms` was measured."""
    latency_ms: Mapping[str, Latency]
    """Latency by batch size."""
    speedup: Mapping[str, Speedup]
    """Speedup by batch size."""


@dataclass(frozen=True)
class FromText:
    """The speed from texts in memory to answers: tokenizer and model, the same texts for all."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    latency_ms: Mapping[str, Latency]
    """Latency by batch size."""
    speedup: Mapping[str, Speedup]
    """Speedup by batch size."""


@dataclass(frozen=True)
class Conditions:
    """The machine while a row was timed, and how long that took."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    seconds: float
    """Time that all measurements of the row took, quality included."""
    rounds: Mapping[str, Count]
    """Rounds that count, by batch size."""
    sittings: Mapping[str, Count]
    """Times that the models were loaded anew for these rounds, by batch size."""
    load_before: float | None = None
    """Processes that were running or waiting in the minute before, for each core."""
    busy_during: float | None = None
    """Fraction of the machine's CPU time that others used while the models were timed."""
    swing: float | None = None
    """Slowest / fastest of the sittings' median times of one model: 1 on a machine at rest."""
    too_noisy: tuple[str, ...] = ()
    """Batch sizes whose interval is wider than the recipe's `precision` asks."""
