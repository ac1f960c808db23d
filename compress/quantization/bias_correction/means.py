"""Means of tensors' channels over samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from compress.core.batch import ATTENTION_MASK
from compress.errors import StageError
from compress.measurement.session import run, unoptimized_session
from compress.onnx_graph.graph import Graph

if TYPE_CHECKING:
    from compress.core.context import Batch

Floats = NDArray[np.floating]


def channel_means(
    graph: Graph,
    tensors: Sequence[str],
    *,
    axes: Sequence[int],
    path: Path,
    batches: Iterable[Batch],
) -> list[Floats]:
    """The mean (channels,) of each tensor over samples and positions.

    Parameters
    ----------
    axes : the axis of the channels of each tensor.
    path : the file that the graph comes from.
    batches : samples; positions that an `attention_mask` marks as padding aren't counted.

    Raises
    ------
    StageError : there are no samples, or a mean isn't finite.
    """
    opened = unoptimized_session(graph.ending_in(tensors), path=path)
    sums: dict[str, Floats] = {}
    counts = dict.fromkeys(tensors, 0)
    for batch in batches:
        outputs = run(opened, batch)
        mask = np.asarray(batch[ATTENTION_MASK]) if ATTENTION_MASK in batch else None
        for name, axis in zip(tensors, axes, strict=True):
            rows = _rows(outputs[name], axis, mask)
            sums[name] = sums.get(name, 0.0) + rows.sum(0, dtype=np.float64)
            counts[name] += len(rows)
    means: list[Floats] = []
    for name in tensors:
        if not counts[name]:
            raise StageError("no calibration samples: the calibration split gave no batch.")
        mean = sums[name] / counts[name]
        if not np.isfinite(mean).all():
            raise StageError(f"the activation {name!r} isn't finite on the calibration samples.")
        means.append(mean)
    return means


def _rows(values: Floats, axis: int, mask: NDArray[np.int64] | None) -> Floats:
    """The tensor as (positions, channels), of real tokens only."""
    channels_last = np.moveaxis(values, axis, -1)
    rows = channels_last.reshape(-1, channels_last.shape[-1])
    if mask is None or channels_last.shape[:-1] not in (mask.shape, (mask.size,)):
        return rows
    real: Floats = rows[mask.reshape(-1) != 0]
    return real
