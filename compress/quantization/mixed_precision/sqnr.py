"""Signal-to-quantization-noise ratio (SQNR) of a model's answers for each quantized node."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.core.batch import ATTENTION_MASK
from compress.core.files.atomic import write_text
from compress.core.progress import Progress, Silent
from compress.measurement.session import run, session

if TYPE_CHECKING:
    from compress.core.context import Batch

Build = Callable[[Sequence[str], Path], Path]
"""Writes a file in which just these nodes are quantized; returns its path."""

NOISE_FILE = "noise.json"


def signal_to_noise(
    source: Path,
    nodes: Sequence[str],
    *,
    build: Build,
    batches: Iterable[Batch],
    threads: int = 1,
    progress: Progress | None = None,
) -> dict[str, float]:
    """The signal-to-noise ratio of the answers for each node quantized alone, in decibels.

    The noise at a node's own output says little about the answers, because a later normalisation
    may hide it, and a softmax may amplify it. Therefore the answers are compared.

    Parameters
    ----------
    source : the float model.
    nodes : names of nodes.
    batches : the same samples for each node; padding isn't compared.

    Returns
    -------
    The ratio by node, least first: 10 log10(sum of squared answers / sum of squared differences),
    or inf if nothing differs.
    """
    samples = list(batches)
    wanted = _answers(source, samples, threads)
    found: dict[str, float] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        (progress or Silent()).track("ranking nodes by their noise", len(nodes)) as advance,
    ):
        for node in nodes:
            path = build([node], Path(folder) / "one.onnx")
            found[node] = decibels(wanted, _answers(path, samples, threads))
            advance()
    return dict(sorted(found.items(), key=lambda item: item[1]))


def decibels(wanted: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """Signal-to-noise ratio of answers, over all batches."""
    signal = sum(float(np.square(x, dtype=np.float64).sum()) for x in wanted)
    noise = sum(
        float(np.square(np.subtract(x, y, dtype=np.float64)).sum())
        for x, y in zip(wanted, got, strict=True)
    )
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def write_noise(found: Mapping[str, float], directory: Path) -> Path:
    """Write `noise.json`, with ratios in decibels by node, into a folder; return its path.

    Null stands for infinity.
    """
    path = directory / NOISE_FILE
    decibels = {node: value if math.isfinite(value) else None for node, value in found.items()}
    write_text(path, json.dumps({"schema": 1, "decibels": decibels}, indent=1) + "\n")
    return path


def _answers(path: Path, batches: Sequence[Batch], threads: int) -> list[np.ndarray]:
    opened = session(path, threads=threads)
    found = []
    for batch in batches:
        answer = next(iter(run(opened, batch).values()))
        if answer.ndim == 3 and ATTENTION_MASK in batch:
            answer = answer[np.asarray(batch[ATTENTION_MASK]) != 0]
        found.append(answer)
    return found
