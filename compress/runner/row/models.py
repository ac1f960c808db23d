"""The models that a row is about: the one that is measured, and those that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.measurement.paired.kept import KeptAnswers
    from compress.report.document import Row


@dataclass(frozen=True)
class MeasuredModel:
    """One measured model, and its place in the pipeline.

    Attributes
    ----------
    onnx : its file; None for a model that is measured in PyTorch.
    energy_kwh : energy of the CPU while the stage worked; None if the machine doesn't show it.
    folder : the stage's folder, which holds a torch artifact's checkpoint.
    """

    index: int
    name: str
    use: str | None
    artifact: Artifact
    onnx: Path | None
    folder: Path
    seconds: float
    peak_memory_bytes: int
    energy_kwh: float | None = None


@dataclass(frozen=True)
class ComparedModel:
    """A model that was measured before, to compare with.

    Attributes
    ----------
    onnx : its file, if it has one.
    row, answers : what was measured.
    """

    artifact: Artifact
    onnx: Path | None
    row: Row
    answers: KeptAnswers


def comparable(rival: ComparedModel | None, measured: MeasuredModel) -> ComparedModel | None:
    """Return the rival if it runs in the measured's runtime, else None."""
    if rival is None:
        return None
    missing = rival.artifact.module if measured.onnx is None else rival.onnx
    return None if missing is None else rival
