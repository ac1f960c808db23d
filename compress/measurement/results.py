"""What is measured of a model: the values that methods decide by and that report.json holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

Interval = tuple[float, float]
"""Its lower and its upper end."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""Of samples, parameters, operations or bytes."""

_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True)
class Quality:
    """How good a model's answers are."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    metric: str
    """Such as accuracy, in [0, 1], or perplexity, from 1 up."""
    value: float
    """The metric's value."""
    ci95: Interval
    """95 % confidence interval over samples."""
    samples: Count
    """Samples that it was measured on."""
    higher_is_better: bool = True
    """False of perplexity."""


@dataclass(frozen=True)
class Latency:
    """Time of one call of the model, in milliseconds."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    p50: float
    """Median."""
    p95: float
    """95th percentile."""


@dataclass(frozen=True)
class Speedup:
    """Ratios of latencies, measured side by side."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    vs_original: float
    """The reference row's latency / this one's."""
    ci95: Interval | None = None
    """95 % confidence interval of `vs_original`; null for the reference itself."""
    vs_previous: float | None = None
    """The previous row's latency / this one's; null for the first row."""


@dataclass(frozen=True)
class Evaluation:
    """A model that a stage made and measured on the way, among others of its kind."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    name: str
    """How it was made; "float" is the model that the stage was given."""
    quality: Quality
    """On the trial's samples, not the test split."""
    loss: float
    """How much worse than the float model: an absolute difference, of perplexity a relative one."""
    fits: bool
    """Whether the loss is within the stage's budget."""
    chosen: bool
    """Whether it was handed over."""
    latency_ms: Mapping[str, Latency]
    """By batch size."""
    speedup: Mapping[str, Speedup]
    """Over the float model, by batch size."""
    size_bytes: Count
    """Its ONNX file, external data included."""
    notes: tuple[str, ...] = ()
    """What was chosen in making it."""

    @property
    def pace(self) -> float:
        """Geometric mean of the speedups over the batch sizes."""
        values = [speedup.vs_original for speedup in self.speedup.values()]
        return float(prod(values) ** (1 / len(values)))
