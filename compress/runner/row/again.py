"""Recognises a stage whose file is that of the row before, which isn't measured twice."""

from __future__ import annotations

import filecmp
from dataclasses import replace
from typing import TYPE_CHECKING

from compress.measurement.results import Speedup
from compress.onnx_graph.files import external_files
from compress.report.document import Row

if TYPE_CHECKING:
    from compress.runner.row.models import ComparedModel, MeasuredModel

_FIGURES = (
    "params",
    "macs",
    "size_bytes",
    "quality",
    "calibration_error",
    "recall",
    "latency_ms",
    "throughput",
    "typical",
    "from_text",
    "serving",
    "runtimes",
    "delta",
)
"""What a row has from the row before if their models are one file."""


def is_same(measured: MeasuredModel, previous: ComparedModel) -> bool:
    """Return whether both are the same ONNX file, byte for byte, for the same inputs."""
    one, other = measured.onnx, previous.onnx
    if one is None or other is None:
        return False
    inputs = [each.artifact.require_preprocessor().fingerprint for each in (measured, previous)]
    if inputs[0] != inputs[1] or measured.artifact.labels != previous.artifact.labels:
        return False
    files = [one, *external_files(one)], [other, *external_files(other)]
    return len(files[0]) == len(files[1]) and all(
        filecmp.cmp(mine, its, shallow=False) for mine, its in zip(*files, strict=True)
    )


def row_again(measured: MeasuredModel, previous: Row) -> Row:
    """Return a row with the figures of the row before; nothing is faster than itself."""
    generation = previous.generation
    if generation is not None:
        generation = replace(
            generation,
            prefill=replace(generation.prefill, speedup=_as_fast(generation.prefill.speedup)),
            decoding=replace(generation.decoding, speedup=_as_fast(generation.decoding.speedup)),
        )
    note = f"its file is that of {previous.name!r}, byte for byte: the figures are that row's"
    return Row(
        index=measured.index,
        name=measured.name,
        use=measured.use,
        seconds=measured.seconds,
        peak_memory_bytes=measured.peak_memory_bytes,
        energy_kwh=measured.energy_kwh,
        generation=generation,
        speedup={size: _as_fast(found) for size, found in previous.speedup.items()},
        notes=[*measured.artifact.notes, note],
        **{name: getattr(previous, name) for name in _FIGURES},
    )


def _as_fast(previous: Speedup) -> Speedup:
    """Return the speedups of a model that is the previous one."""
    return Speedup(
        vs_original=previous.vs_original,
        ci95=previous.ci95 or (1.0, 1.0),  # that of the reference itself
        vs_previous=1.0,
        previous_ci95=(1.0, 1.0),
    )
