"""Runs real samples through a model and finds the ranges of its activations.

onnxruntime's own calibrators keep every activation of every sample until the end (or, with a
limit, drop them), want equal shapes, and fix a histogram's bins by the first sample; through
`quantize_static` their entropy method has as many bins as levels and is MinMax in effect. Here a
first pass finds each tensor's least and largest value, and for the other methods a second pass
fills histograms of that range. Only one batch's activations are ever held, and how the samples
are batched changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from compress.core.progress import Progress, Silent
from compress.errors import StageError
from compress.measurement.session import run, unoptimized_session
from compress.quantization.options import Calibration
from compress.quantization.ranges import Histogram, Range, count, entropy_range, percentile_range

if TYPE_CHECKING:
    from compress.core.context import Batch

Batches = Iterable["Batch"]


def calibrate(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    *,
    path: Path,
    batches: Batches,
    calibration: Calibration,
    progress: Progress | None = None,
) -> dict[str, Range]:
    """The range of each tensor over the batches.

    Parameters
    ----------
    model : the float model, as loaded without external data.
    tensors : names of float activations; graph inputs among them too.
    path : the model's file, beside which its external data lie.
    batches : gone through once for minmax, twice for the other methods.

    Raises
    ------
    StageError : no samples, or an activation isn't finite.
    """
    opened = _open(model, tensors, path)
    passes = 1 if calibration.method == "minmax" else 2
    with (progress or Silent()).track("calibrate", passes * _length(batches)) as advance:
        seen: dict[str, Range] = {}
        for values in _activations(opened, tensors, batches):
            _widen(seen, values)
            advance()
        _check(seen, tensors)
        if calibration.method == "minmax":
            return seen
        counts: dict[str, Any] = {}
        for values in _activations(opened, tensors, batches):
            for name, array in values.items():
                limit = max(abs(seen[name][0]), abs(seen[name][1]))
                if limit > 0:
                    counts[name] = counts.get(name, 0) + count(array, limit)
            advance()
    return {name: _choose(seen[name], counts.get(name), calibration) for name in seen}


def _choose(seen: Range, counts: Any, calibration: Calibration) -> Range:
    if counts is None:
        return seen
    histogram = Histogram(*seen, counts)
    if calibration.method == "entropy":
        return entropy_range(histogram)
    return percentile_range(histogram, calibration.percentile)


def _open(model: onnx.ModelProto, tensors: Sequence[str], path: Path) -> Any:
    """A session that also returns the activations."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    present = {value.name for value in (*model.graph.output, *model.graph.input)}
    for name in tensors:
        if name not in present:
            value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            opened.graph.output.append(value)
    return unoptimized_session(opened, path=path)


def _activations(
    opened: Any, tensors: Sequence[str], batches: Batches
) -> Iterator[Mapping[str, np.ndarray]]:
    for batch in batches:
        outputs = run(opened, batch)
        yield {
            name: outputs[name] if name in outputs else np.asarray(batch[name]) for name in tensors
        }


def _widen(seen: dict[str, Range], values: Mapping[str, np.ndarray]) -> None:
    for name, array in values.items():
        if array.size:
            low, high = float(array.min()), float(array.max())
            old = seen.get(name, (low, high))
            # np.minimum hands NaN on, which Python's min may drop.
            seen[name] = float(np.minimum(old[0], low)), float(np.maximum(old[1], high))


def _check(seen: Mapping[str, Range], tensors: Sequence[str]) -> None:
    missing = [name for name in tensors if name not in seen]
    if missing:
        raise StageError("no calibration samples: the calibration split gave no batch.")
    broken = [name for name, bounds in seen.items() if not np.isfinite(bounds).all()]
    if broken:
        raise StageError(
            f"the float model's activation {broken[0]!r} isn't finite on the calibration samples; "
            "it can't be quantized."
        )


def _length(batches: Batches) -> int:
    return len(batches) if isinstance(batches, Sized) else 0
