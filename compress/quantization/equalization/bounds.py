"""Limits of the scales of channels before a `Clip`, so that they don't reach its bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compress.errors import StageError
from compress.measurement.session import run, unoptimized_session
from compress.onnx_graph.graph import Graph
from compress.quantization.equalization.chains import Array, Pair, Weights

if TYPE_CHECKING:
    from compress.core.context import Batch

_ROOM = 1.25
"""Values up to this many times the largest one seen aren't cut off."""


def least_scales(
    graph: Graph,
    pairs: Sequence[Pair],
    weights: Weights,
    *,
    path: Path,
    batches: Iterable[Batch],
) -> dict[str, Array]:
    """The least number that each channel may be divided by, for each pair with a `Clip`.

    It is infinite for a channel whose values reach the bound or come near it.

    Parameters
    ----------
    path : the file that the graph comes from.
    batches : samples, iterated once; without samples the result is empty.

    Returns
    -------
    (channels,) by the name of the first layer's output.

    Raises
    ------
    StageError : an activation isn't finite.
    """
    bounds = {pair.first.output[0]: _bound(pair, weights) for pair in pairs}
    if not bounds:
        return {}
    largest: dict[str, Array] = {}
    opened = unoptimized_session(graph.ending_in(bounds), path=path)
    for batch in batches:
        outputs = run(opened, batch)
        for name in bounds:
            found = np.moveaxis(outputs[name], 1, 0).reshape(outputs[name].shape[1], -1).max(1)
            # np.maximum propagates NaN.
            largest[name] = np.maximum(largest.get(name, found), found)
    least: dict[str, Array] = {}
    for name, values in largest.items():
        if not np.isfinite(values).all():
            raise StageError(f"the activation {name!r} isn't finite on the calibration samples.")
        needed = np.maximum(values, 0) * _ROOM / bounds[name]
        least[name] = np.where(needed < 1, needed, np.inf).astype(np.float32)
    return least


def _bound(pair: Pair, weights: Weights) -> float:
    """The upper bound of the pair's `Clip`."""
    value = None if pair.clip is None else weights.value(pair.clip.input[2])
    return float("inf") if value is None else float(value)
