"""Runs a graph with a key-value cache as generation does: first the prompt, then later tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.core.batch import ATTENTION_MASK
from compress.measurement.session import PAST, TOKENS, run, session

if TYPE_CHECKING:
    from compress.core.context import Batch

PRESENT = "present."


def stepwise_answers(onnx: Path, *, threads: int = 1) -> Callable[[Batch], np.ndarray]:
    """Return the file as a function from a batch to its scores, which reads tokens in three parts.

    The first half is the prompt. All other tokens but one follow at once, then the last one alone.
    Each part is given the caches of the part before it.
    """
    opened = session(onnx, threads=threads)
    names = [value.name for value in opened.get_inputs()]
    per_token = [name for name in names if not name.startswith(PAST) and name != ATTENTION_MASK]

    def answer(batch: Batch) -> np.ndarray:
        arrays = {name: np.asarray(values) for name, values in batch.items()}
        length = arrays[TOKENS].shape[1]
        scores: list[np.ndarray] = []
        caches: Mapping[str, np.ndarray] = {}
        start = 0
        for end in sorted({-(-length // 2), length - 1, length} - {0}):
            part = {name: arrays[name][:, start:end] for name in per_token if name in arrays}
            part[ATTENTION_MASK] = arrays[ATTENTION_MASK][:, :end]
            outputs = run(opened, {**part, **caches})
            scores.append(next(iter(outputs.values())))
            caches = {
                name.replace(PRESENT, PAST): values
                for name, values in outputs.items()
                if name.startswith(PRESENT)
            }
            start = end
        return np.concatenate(scores, axis=1)

    return answer
