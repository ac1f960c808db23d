"""The figures of a row that a recipe can limit, by their names in report.json."""

from __future__ import annotations

from typing import NamedTuple

from compress.errors import unknown

ANY = "*"
"""A batch size, a runtime or a class's name, in the name of a figure."""

_SPEEDS = {
    "latency_ms.*.p50": None,
    "latency_ms.*.p95": None,
    "latency_ms.*.p99": None,
    "speedup.*.vs_original": "ci95",
    "speedup.*.vs_previous": "previous_ci95",
}
_DIFFERENCE = {"change": "ci95", "p_value": None, "smallest": None, "agreement": None}
_RATE = {
    "tokens_per_second": None,
    "latency_ms.p50": None,
    "latency_ms.p95": None,
    "speedup.vs_original": "ci95",
    "speedup.vs_previous": "previous_ci95",
}
FIGURES: dict[str, str | None] = {
    "quality.value": "ci95",
    "params": None,
    "macs": None,
    "size_bytes": None,
    **{f"delta.{name}": None for name in ("params", "size", "quality")},
    **{f"vs_reference.{name}": ends for name, ends in _DIFFERENCE.items()},
    **{f"vs_previous.{name}": ends for name, ends in _DIFFERENCE.items()},
    "calibration_error": None,
    "recall.*": None,
    **_SPEEDS,
    **{f"typical.{name}": ends for name, ends in _SPEEDS.items()},
    "throughput.samples_per_second": None,
    **{f"serving.{name}": None for name in ("memory_bytes", "load_ms", "joules_per_sample")},
    **{f"generation.prefill.{name}": ends for name, ends in _RATE.items()},
    **{f"generation.decoding.{name}": ends for name, ends in _RATE.items()},
    **{f"runtimes.*.{name}": ends for name, ends in _SPEEDS.items()},
    "runtimes.*.speedup_vs_onnxruntime.*.vs_original": "ci95",
    "runtimes.*.agreement": None,
    "seconds": None,
    "peak_memory_bytes": None,
    "energy_kwh": None,
}
"""Names of figures, each with the key beside it of its 95 % interval; None if it has none."""

_SHORT = {
    "quality": "value",
    "vs_reference": "change",
    "vs_previous": "change",
    "latency_ms.*": "p50",
    "speedup.*": "vs_original",
    "throughput": "samples_per_second",
}
"""Names that may stand without their last part, which then is this one."""


class Figure(NamedTuple):
    """One figure of a row.

    Attributes
    ----------
    path : the keys that lead to it in a row of report.json.
    interval : the keys that lead to its 95 % interval; None if it has none.
    pattern : its name in `FIGURES`.
    """

    path: tuple[str, ...]
    interval: tuple[str, ...] | None
    pattern: str

    @property
    def name(self) -> str:
        """The whole name, such as "latency_ms.1.p50"."""
        return ".".join(self.path)

    def part(self, of: str) -> str | None:
        """Return what stands after a key, such as the batch size after "latency_ms"."""
        if of not in self.path[:-1]:
            return None
        return self.path[self.path.index(of) + 1]


def figure(name: str) -> Figure:
    """Return the figure of that name.

    >>> figure("speedup.32").name
    'speedup.32.vs_original'

    Raises
    ------
    ValueError : there is none.
    """
    given = name.split(".")
    for pattern, ends in FIGURES.items():
        path = _matched(given, pattern.split("."))
        if path is not None:
            interval = None if ends is None else (*path[:-1], ends)
            return Figure(path, interval, pattern)
    for pattern, last in _SHORT.items():
        path = _matched(given, pattern.split("."))
        if path is not None:
            return figure(".".join((*path, last)))
    raise ValueError(unknown("figure", name, [*FIGURES, *_SHORT]))


def _matched(given: list[str], pattern: list[str]) -> tuple[str, ...] | None:
    """The parts of a name if it is of a pattern's form; a class's name may have dots itself."""
    if pattern[-1] == ANY and pattern[0] == "recall" and len(given) > len(pattern):
        given = [*given[: len(pattern) - 1], ".".join(given[len(pattern) - 1 :])]
    if len(given) != len(pattern) or not all(given):
        return None
    fits = all(part in (ANY, mine) for mine, part in zip(given, pattern, strict=True))
    return tuple(given) if fits else None
