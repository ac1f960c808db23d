"""Times a model and the original in OpenVINO too, in the rounds that time them in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from compress.errors import LoadError, StageError
from compress.measurement.affinity import pinned
from compress.measurement.results import InRuntime, Latency, Speedup
from compress.measurement.runtimes.names import OPENVINO, Runtime
from compress.measurement.runtimes.openvino import OpenVinoModel, library

if TYPE_CHECKING:
    from pathlib import Path

    from compress.measurement.latency.measure import Timed
    from compress.measurement.latency.times import Latencies
    from compress.measurement.runtimes.openvino import Arrays

_PREFIX = f"{OPENVINO}: "
_ALIKE = 0.99
"""Smallest agreement of a model's answers in two runtimes that no note warns of."""


@dataclass
class InOpenVino:
    """Models that are timed in OpenVINO beside ONNX Runtime.

    Attributes
    ----------
    models : those that OpenVINO runs, by the names that they have in ONNX Runtime.
    refused : why another model isn't among them, by its name.
    """

    models: dict[str, OpenVinoModel] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def timed(self) -> dict[str, Timed]:
        """Return the models, to be timed under names of their own."""
        return {_PREFIX + name: model.prepare for name, model in self.models.items()}

    def speeds(self, times: Latencies, *, this: str, original: str) -> _Speeds:
        """Return latencies and speedups of a model from rounds that timed it.

        Parameters
        ----------
        this, original : names of the measured model and of the original; both may be one.
        """
        own, reference = _PREFIX + this, _PREFIX + original
        speeds = _Speeds()
        for size in times.runs_ms:
            speeds.latency[str(size)] = times.latency(size, own)
            if original in self.models:
                value, ci95 = times.speedup(size, own, over=reference)
                speeds.same[str(size)] = Speedup(value, None if own == reference else ci95)
            speeds.other[str(size)] = Speedup(*times.speedup(size, own, over=original))
        return speeds


@dataclass
class _Speeds:
    latency: dict[str, Latency] = field(default_factory=dict)
    same: dict[str, Speedup] = field(default_factory=dict)
    other: dict[str, Speedup] = field(default_factory=dict)

    def with_answers(self, *, agreement: float, max_difference: float) -> InRuntime:
        """Return the entry of a row, with how far the answers are ONNX Runtime's."""
        return InRuntime(self.latency, self.same, self.other, agreement, max_difference)


def open_in_openvino(
    runtimes: Iterable[Runtime],
    files: Mapping[str, Path],
    inputs: Mapping[int, Arrays],
    *,
    threads: int,
) -> InOpenVino:
    """Return the files that OpenVINO loads and runs; none if it isn't among the runtimes.

    Parameters
    ----------
    files : ONNX files by name.
    inputs : inputs by batch size; each file runs once on each.

    Raises
    ------
    LoadError : OpenVINO isn't installed.
    """
    found = InOpenVino()
    if OPENVINO not in runtimes:
        return found
    library()
    with pinned(threads):  # its threads inherit the CPUs
        for name, file in files.items():
            try:
                model = OpenVinoModel(file, threads=threads)
                for arrays in inputs.values():
                    model.prepare(arrays)()
            except (LoadError, StageError) as error:
                found.refused[name] = f"not timed in OpenVINO: {error}"
            else:
                found.models[name] = model
    return found


def answers_note(found: InRuntime, *, said: str) -> str:
    """Return a note on a model's answers in OpenVINO beside ONNX Runtime's.

    Parameters
    ----------
    said : the agreement in words.
    """
    warning = (
        "" if found.agreement >= _ALIKE else "DIFFERENT ANSWERS in OpenVINO, whatever its speed: "
    )
    return (
        f"{warning}OpenVINO's answers beside ONNX Runtime's: {said}, "
        f"largest difference {found.max_difference:.1e}"
    )
