"""Times models that generate text against one another: the prompt, and each token of the answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from compress.core.batch import ATTENTION_MASK
from compress.core.progress import Progress, Silent
from compress.measurement.affinity import pinned
from compress.measurement.generation.decoder import Decoder
from compress.measurement.generation.spec import DECODING, PREFILL, GenerationSpec
from compress.measurement.latency.clocks import Clock, own_clock
from compress.measurement.latency.measure import no_collection
from compress.measurement.latency.sittings import NANOSECONDS_PER_MS
from compress.measurement.latency.times import Latencies, Load
from compress.measurement.results import Generation, Rate, Speedup
from compress.measurement.session import TOKENS

MOST_ROUNDS = 1000
LEAST_ROUNDS = 5
"""Rounds of a measurement for a report. Each holds as many steps as the answer has tokens."""


@dataclass(frozen=True)
class Passage:
    """A text with which generation is timed.

    Attributes
    ----------
    prompt : tokens that are read at once.
    answer : number of tokens that are then decoded, one by one.
    """

    prompt: tuple[int, ...]
    answer: int


def passage_of(inputs: Mapping[str, np.ndarray[Any, Any]], spec: GenerationSpec) -> Passage:
    """Return the beginning of the first text as a prompt; a text that is too short is repeated.

    Parameters
    ----------
    inputs : `input_ids` and `attention_mask` (N, S), padded to the full length.

    Raises
    ------
    InputError : prompt and answer are longer than S.
    """
    tokens = inputs[TOKENS][0]
    prompt, answer = spec.lengths(len(tokens))
    read = tokens[inputs[ATTENTION_MASK][0] > 0] if ATTENTION_MASK in inputs else tokens
    return Passage(tuple(int(token) for token in np.resize(read, prompt)), answer)


def can_generate(model: Decoder, text: Passage) -> None:
    """Let a model read the prompt and one token after it.

    Raises
    ------
    DataError, StageError : the model takes other inputs, or doesn't run.
    """
    model.begin()
    model.read([model.read(text.prompt)])


def time_generation(
    models: Mapping[str, Decoder],
    text: Passage,
    *,
    seconds: float,
    rounds: int = LEAST_ROUNDS,
    warmup: int = 1,
    threads: int = 1,
    seed: int = 0,
    progress: Progress | None = None,
) -> Latencies:
    """Time all models side by side as they read a prompt and decode an answer, greedily.

    A round runs every model once, in a new random order. In it, the model reads the prompt, and is
    then given its own likeliest token as often as the answer has tokens; an end of text doesn't end
    it. On one thread only the thread's own time counts.

    Parameters
    ----------
    seconds : more rounds than `rounds` begin until this time is over.
    warmup : rounds before these that don't count.
    threads : those that the models compute with; the process is pinned to as many CPUs.
    seed : seed of the orders and of the bootstrap.

    Returns
    -------
    Milliseconds of the whole prompt ("prefill") and of one token of the answer ("decoding").

    Raises
    ------
    DataError, StageError : a model takes other inputs, or doesn't run.
    """
    generator = np.random.default_rng(seed)
    clock = own_clock(threads)
    names = list(models)
    found: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = []
    with (
        pinned(threads) as notes,
        (progress or Silent()).track("timing generation", rounds) as advance,
        no_collection(),
    ):
        begun = time.monotonic()
        while len(found) < warmup + rounds or (
            time.monotonic() < begun + seconds and len(found) < MOST_ROUNDS
        ):
            row = np.zeros((len(names), 2))
            for index in generator.permutation(len(names)):
                row[index] = _generate(models[names[index]], text, clock)
            found.append(row)
            if warmup < len(found) <= warmup + rounds:
                advance()
    times = np.stack(found[warmup:]) / NANOSECONDS_PER_MS
    runs: dict[Load, dict[str, Any]] = {
        part: dict(zip(names, times[:, :, place].T, strict=True))
        for place, part in enumerate((PREFILL, DECODING))
    }
    return Latencies(runs, seed=seed, notes=notes)


def _generate(model: Decoder, text: Passage, clock: Clock) -> tuple[float, float]:
    """Return the nanoseconds of the prompt, and the mean of those of a token after it."""
    model.begin()
    start = clock()
    token = model.read(text.prompt)
    read = clock()
    for _ in range(text.answer):
        token = model.read([token])
    return read - start, (clock() - read) / text.answer


def generation(
    times: Latencies, text: Passage, *, cached: bool, speedups: Mapping[str, Speedup], model: str
) -> Generation:
    """Return the speed of one of the models, as the report holds it."""
    prefill, decoding = (times.latency(part, model) for part in (PREFILL, DECODING))
    return Generation(
        prompt=len(text.prompt),
        answer=text.answer,
        cached=cached,
        prefill=Rate(1000 * len(text.prompt) / prefill.p50, prefill, speedups[PREFILL]),
        decoding=Rate(1000 / decoding.p50, decoding, speedups[DECODING]),
    )
