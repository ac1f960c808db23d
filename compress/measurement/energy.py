"""Reads the energy that the CPU has used, where the machine shows it (RAPL)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

POWERCAP = Path("/sys/class/powercap")
"""Linux's folder of energy counters; see its documentation of the power capping framework."""
JOULES_PER_KWH = 3.6e6
_MICROJOULES = 1e-6


class _Counter(NamedTuple):
    """A package's counter: its microjoules, and the range after which it begins again."""

    passed: int
    range: int


class Energy:
    """Context manager that measures the energy of all CPU packages inside the context.

    It is the whole machine's: other processes and idle power count too. Counters that begin again
    at zero are followed if they do so once.

    Attributes
    ----------
    joules : the energy; None until the context ends, and where the machine doesn't show it.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        self.joules: float | None = None
        self._folder = folder
        self._before: Mapping[Path, _Counter] = {}

    def __enter__(self) -> Self:
        self._before = _counters(self._folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        after = _counters(self._folder)
        if not self._before or after.keys() != self._before.keys():
            return
        used = [_passed(self._before[zone], after[zone]) for zone in after]
        self.joules = sum(used) * _MICROJOULES

    @property
    def kwh(self) -> float | None:
        """The energy in kilowatt-hours; None where the machine doesn't show it."""
        return None if self.joules is None else self.joules / JOULES_PER_KWH


def unreadable(folder: Path = POWERCAP) -> str | None:
    """Return a sentence if the machine has counters that this process may not read, else None."""
    if not any(_zones(folder)) or _counters(folder):
        return None
    return (
        "no energy was measured: the counters of the CPU packages can't be read "
        f"({folder}/*/energy_uj, which on most systems only the administrator may)"
    )


def _zones(folder: Path) -> list[Path]:
    """The zones that are packages or beside them, and no parts of one."""
    return [zone for zone in sorted(folder.glob("*-rapl:*")) if zone.name.count(":") == 1]


def _counters(folder: Path) -> dict[Path, _Counter]:
    """The counter of each package, by its zone; none at all if one can't be read."""
    found = {}
    for zone in _zones(folder):
        try:
            if (zone / "name").read_text().startswith("package"):
                read = (zone / "energy_uj", zone / "max_energy_range_uj")
                found[zone] = _Counter(*(int(file.read_text()) for file in read))
        except (OSError, ValueError):  # only the administrator may read it, on most systems
            return {}
    return found


def _passed(before: _Counter, after: _Counter) -> int:
    if after.passed >= before.passed:
        return after.passed - before.passed
    return after.passed - before.passed + after.range
