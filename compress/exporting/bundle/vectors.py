"""The embeddings that a bundle's scripts make, and the ranges by which these become int8."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import ATTENTION_MASK
from compress.core.files.atomic import write_text
from compress.errors import StageError
from compress.measurement.session import run, session

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.context import Batch

    Array = NDArray[Any]

POSTPROCESSING = "postprocessing.json"


def vectors_of(answers: Array, mask: Array, postprocessing: Mapping[str, Any]) -> Array:
    """Return the embedding of each text (N, H) as the bundle's constants say.

    Parameters
    ----------
    answers : the file's first output: hidden states (N, S, H), or the embeddings themselves.
    mask : (N, S), 1 for a token and 0 for padding.
    """
    if postprocessing["pooling"] is None:  # the graph did it
        return answers
    if postprocessing["pooling"] == "cls":
        vectors = answers[np.arange(len(answers)), mask.argmax(1)]
    elif postprocessing["pooling"] == "max":
        vectors = np.where(mask[:, :, None] > 0, answers, -np.inf).max(1)
    else:
        vectors = (answers * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    if postprocessing["normalize"]:
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors)


def write_ranges(model: Path, batches: Iterable[Batch], *, threads: int) -> str:
    """Write each dimension's range over some samples into postprocessing.json; return a note.

    The script's `--int8` makes 256 steps of it, as sentence-transformers' `quantize_embeddings`
    does with its `ranges`: the code is floor((value - low) / ((high - low) / 255)) - 128, clipped.

    Parameters
    ----------
    model : the bundle's ONNX file.
    batches : real samples.

    Raises
    ------
    StageError : there are no samples.
    """
    place = model.parent / POSTPROCESSING
    said = json.loads(place.read_text(encoding="utf-8"))
    opened, low, high, count = session(model, threads=threads), None, None, 0
    for batch in batches:
        answers = run(opened, batch)[said["output"]].astype(np.float64)
        vectors = vectors_of(answers, np.asarray(batch[ATTENTION_MASK]), said)
        low = vectors.min(0) if low is None else np.minimum(low, vectors.min(0))
        high = vectors.max(0) if high is None else np.maximum(high, vectors.max(0))
        count += len(vectors)
    if low is None or high is None:
        raise StageError("there are no calibration samples to find the embeddings' ranges on.")
    ranges = {"low": low.tolist(), "high": high.tolist(), "samples": count}
    write_text(place, json.dumps({**said, "int8": ranges}, indent=2, ensure_ascii=False) + "\n")
    return f"ranges of {len(low)} dimensions for int8 vectors, over {count} calibration samples"
