"""Describes the machine, system and versions of a measurement."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
FLAGS = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "avx512_bf16": "avx512_bf16",
    "amx_int8": "amx_int8",
    "amx_bf16": "amx_bf16",
    "neon": "asimd",
    "dotprod": "asimddp",
    "i8mm": "i8mm",
    "sve": "sve",
}
"""Instruction sets that decide the speed of INT8 and float products, by Linux's names."""

PACKAGES = (
    "compress",
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openvino",
    "nncf",
    "accelerate",
    "datasets",
    "numpy",
)


def environment(*, threads: int) -> dict[str, Any]:
    """Machine, system and versions, as plain JSON. Nothing heavy is imported for it.

    Parameters
    ----------
    threads : number of threads with which latency is measured.

    Returns
    -------
    cpu (the model's name), flags (those of `FLAGS` that it has; None if the system doesn't tell),
    cores (all logical ones), cores_allowed (to this process), threads, os, python, and versions by
    package (only installed ones).
    """
    flags = cpu_flags()
    return {
        "cpu": cpu_name(),
        "flags": None if flags is None else sorted(flags),
        "cores": os.cpu_count(),
        "cores_allowed": _cores_allowed(),
        "threads": threads,
        "os": platform.platform(),
        "python": platform.python_version(),
        "versions": _versions(),
    }


def cpu_name() -> str:
    """The CPU's model, such as "Intel(R) Xeon(R) Processor"."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str] | None:
    """The instruction sets of `FLAGS` that the CPU has; None if the system doesn't tell."""
    words = _cpuinfo("flags") or _cpuinfo("Features")
    if words is None:
        return None
    present = set(words.split())
    return frozenset(name for name, word in FLAGS.items() if word in present)


def _cpuinfo(key: str) -> str | None:
    if not CPUINFO.exists():
        return None
    for line in CPUINFO.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None


def _cores_allowed() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
