"""A rival with its figures and its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compress.measurement.paired.kept import KeptAnswers
    from compress.measurement.results import Baseline


@dataclass(frozen=True, eq=False)
class MeasuredBaseline:
    """A rival as it was measured, and what is kept of its answers to the test samples."""

    baseline: Baseline
    answers: KeptAnswers
