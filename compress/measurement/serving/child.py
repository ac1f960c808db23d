"""Serves one model in a process of its own, and tells how much memory that takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from compress.measurement.child.process import Told
from compress.measurement.child.watch import Watch
from compress.measurement.energy import Energy
from compress.measurement.memory import PeakMemory
from compress.measurement.session import run, session

_CALLS, _LOADS = 3, 3
_ENERGY_SECONDS = 1.0
"""Time in which energy is measured: counters move once a millisecond."""


def serve_once(given: Mapping[str, Any], watch: Watch, told: Told) -> None:
    """Send the fields of `Serving`. See `compress.measurement.child.process.Work`."""
    onnx, threads = Path(given["onnx"]), int(given["threads"])
    with np.load(given["inputs"], allow_pickle=False) as file:
        arrays = [file[f"arr_{number}"] for number in range(len(given["names"]))]
    inputs = dict(zip(given["names"], arrays, strict=True))
    watch.begin(f"serving {onnx.name}")
    with PeakMemory() as memory:
        opened = session(onnx, threads=threads)
        for _ in range(_CALLS):
            run(opened, inputs)
    loads = []
    joules = _joules_per_sample(opened, inputs)
    del opened
    for _ in range(_LOADS):
        start = time.perf_counter()
        session(onnx, threads=threads)
        loads.append(1000 * (time.perf_counter() - start))
    watch.end()
    found = {"memory_bytes": memory.bytes, "load_ms": median(loads), "joules_per_sample": joules}
    told.tell("item", found)


def _joules_per_sample(opened: Any, inputs: Mapping[str, Any]) -> float | None:
    """Energy of the CPU packages for a sample; None where the machine doesn't show it."""
    with Energy() as idle:
        pass
    if idle.joules is None:
        return None
    calls = 0
    end = time.monotonic() + _ENERGY_SECONDS
    with Energy() as energy:
        while time.monotonic() < end:
            run(opened, inputs)
            calls += 1
    samples = calls * len(next(iter(inputs.values())))
    return None if energy.joules is None else energy.joules / samples
