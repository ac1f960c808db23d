"""Results of measuring a model: methods decide by them, and report.json holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

Interval = tuple[float, float]
"""The lower and the upper end of an interval."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of samples, parameters, operations or bytes."""

NOISE = 0.03
"""Two models whose latencies differ by less than this fraction count as equally fast."""
SLOWER_BY = 0.05
"""A model that is slower by less than this fraction isn't called slower: figures of one pair of
models, a tenth of a millisecond a call, moved by 3 % either way from session to session."""

_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def at(load: str) -> str:
    """Return where a speed was measured: "at batch 1", or "in decoding" of generated text."""
    return f"at batch {load}" if load.isdigit() else f"in {load}"


def slower(speedup: float, ci95: Interval | None) -> bool:
    """Return whether a speedup is below 1 by `SLOWER_BY`, and with it its whole interval."""
    return speedup < 1 - SLOWER_BY and (ci95 is None or ci95[1] < 1)


@dataclass(frozen=True)
class Quality:
    """The quality of a model's answers."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    metric: str
    """Name of the metric, such as accuracy (in [0, 1]) or perplexity (1 or more)."""
    value: float
    """Value of the metric."""
    ci95: Interval
    """95 % confidence interval over samples."""
    samples: Count
    """Number of samples that it was measured on."""
    higher_is_better: bool = True
    """Whether higher values are better; false for perplexity."""


Verdict = Literal["better", "worse", "no difference seen", "too few samples to tell"]
"""A difference in words."""


@dataclass(frozen=True)
class Difference:
    """The quality of a model minus that of another, over the same samples."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    change: float
    """This model's value minus the other's; of perplexity, more is worse."""
    ci95: Interval
    """95 % confidence interval of `change`. It holds 0 unless `p_value` is below 0.05."""
    p_value: float
    """Probability of a difference at least as large if the models were equally good."""
    test: Literal["mcnemar", "bootstrap"]
    """The test: McNemar's exact one for a fraction of samples, else a paired bootstrap."""
    verdict: Verdict
    """In words. "no difference seen" means that the whole interval is too small to matter, and "too
    few samples to tell" that it isn't, though it holds 0."""
    smallest: float
    """Smallest change, in either direction, that would have been significant on these samples."""
    samples: Count
    """Number of samples that both models answered."""
    agreement: float | None = None
    """Fraction of classes, one for a sample or a token, that both predict alike; null for models
    that predict none."""


RivalKind = Literal["linear model", "word matching"]
"""The kind of a run's rival: it tells classes, or it finds documents for queries."""


@dataclass(frozen=True)
class Baseline:
    """The cheapest sensible rival of a run's models: a linear model, or BM25 for queries."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    name: str
    """What it is, such as "tf-idf + linear SVM" or "BM25 of words and characters"."""
    quality: Quality
    """Quality on the test split, by the run's metric."""
    size_bytes: Count
    """Bytes of all that it is made of, as `pickle` writes it."""
    call_ms: float
    """Median time of one call for one sample, by its own clock, in milliseconds. It runs elsewhere
    than the rows' models, and takes raw samples: a text and not its tokens."""
    seconds: float
    """Time to train it, on one core."""
    runtime: str
    """The library that runs it, with its version."""
    majority: Quality | None = None
    """Quality of a rival that reads no sample: it always answers the most frequent class of the
    train split, or leaves documents in an order by chance."""
    verdict: Difference | None = None
    """Quality against the reference; null while there is no reference to compare with."""
    notes: tuple[str, ...] = ()
    """What was left out, such as samples that it wasn't trained on, and what a call is."""
    kind: RivalKind = "linear model"
    """Its kind."""


@dataclass(frozen=True)
class Latency:
    """Time of one call of the model, in milliseconds; on one thread by the thread's own clock."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    p50: float
    """Median."""
    p95: float
    """95th percentile."""
    p99: float | None = None
    """99th percentile; null in reports that were made before it was measured."""
    quantiles: tuple[float, ...] = ()
    """The 0 %, 5 %, 10 % … 100 % quantiles of the timed calls; empty if they weren't kept."""


@dataclass(frozen=True)
class Speedup:
    """Ratios of latencies that were measured side by side."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    vs_original: float
    """The reference row's latency / this one's."""
    ci95: Interval | None = None
    """95 % confidence interval of `vs_original`; null for the reference itself."""
    vs_previous: float | None = None
    """The previous row's latency / this one's; null for the first row."""
    previous_ci95: Interval | None = None
    """95 % confidence interval of `vs_previous`; null for the first row."""


@dataclass(frozen=True)
class InRuntime:
    """The speed of a model in another runtime than ONNX Runtime, from the same rounds."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    latency_ms: Mapping[str, Latency]
    """Latency by batch size."""
    speedup: Mapping[str, Speedup]
    """Speedup over the original in the same runtime, by batch size; empty if that can't run it."""
    speedup_vs_onnxruntime: Mapping[str, Speedup]
    """Speedup over the original in ONNX Runtime, by batch size."""
    agreement: float
    """Fraction of the validation samples' answers that are ONNX Runtime's, by the task's measure of
    parity, such as the top class."""
    max_difference: float
    """Largest absolute difference from ONNX Runtime's outputs."""


@dataclass(frozen=True)
class Rate:
    """The speed of one part of generating text."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    tokens_per_second: float
    """Tokens that are read in a second, by the median."""
    latency_ms: Latency
    """Time of the whole prompt, or of one token of the answer."""
    speedup: Speedup
    """Speedup over the original."""


@dataclass(frozen=True)
class Generation:
    """The speed of a model that generates text: one text at a time, greedily."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    prompt: Count
    """Tokens of the prompt, which are read at once."""
    answer: Count
    """Tokens that were decoded after it, one by one."""
    cached: bool
    """Whether keys and values of what was read are kept; without, each step reads all tokens."""
    prefill: Rate
    """Speed of reading the prompt."""
    decoding: Rate
    """Speed of decoding the answer."""


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one candidate that a stage made and measured."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    name: str
    """The way it was made; "float" is the model that the stage was given."""
    quality: Quality
    """Quality on the stage's own samples, not on the test split."""
    loss: float
    """Loss against the float model: an absolute difference; for perplexity a relative one."""
    fits: bool
    """Whether the loss is within the stage's budget."""
    chosen: bool
    """Whether it is the stage's result."""
    latency_ms: Mapping[str, Latency]
    """Latency by batch size; of a model that generates text, that of the prompt ("prefill") and of
    a token after it ("decoding")."""
    speedup: Mapping[str, Speedup]
    """Speedup over the float model, by the same keys."""
    size_bytes: Count
    """Bytes of its ONNX file, external data included."""
    notes: tuple[str, ...] = ()
    """Choices that were made for it."""
    slower_twice: tuple[str, ...] = ()
    """Batch sizes at which two measurements found it slower than the float model, each with its
    whole interval."""

    @property
    def pace(self) -> float:
        """Geometric mean of the speedups."""
        values = [speedup.vs_original for speedup in self.speedup.values()]
        return float(prod(values) ** (1 / len(values)))

    @property
    def slower_at(self) -> dict[str, float]:
        """The speedups at which it is slower than the float model by more than noise.

        By batch size, or part of generating: those whose whole interval is below 1, and that are
        below 1 - `SLOWER_BY` or were measured twice.
        """
        return {
            size: found.vs_original
            for size, found in self.speedup.items()
            if slower(found.vs_original, found.ci95) or size in self.slower_twice
        }

    @property
    def slow_batches(self) -> dict[str, float]:
        """Those of `slower_at` that are batch sizes.

        Prefill and decoding are parts of one answer, and may pay for one another.
        """
        return {load: value for load, value in self.slower_at.items() if load.isdigit()}

    @property
    def doubtful_batches(self) -> tuple[str, ...]:
        """The batch sizes at which it may be slower: by less than `SLOWER_BY`, measured once."""
        return tuple(
            load
            for load, found in self.speedup.items()
            if load.isdigit()
            and load not in self.slower_at
            and found.ci95 is not None
            and found.ci95[1] < 1
        )
