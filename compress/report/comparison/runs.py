"""Reads the runs that are compared: their reports, and the answers that their rows kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.files.confined import inside
from compress.core.shown import shown
from compress.errors import InputError
from compress.measurement.paired.kept import from_file
from compress.report.document import ANSWERS, STAGES, Report, printable, read_report, stage_folder

if TYPE_CHECKING:
    from compress.measurement.paired.kept import KeptAnswers


_LACKING = "weren't kept"


@dataclass(frozen=True)
class Run:
    """A run that is compared with others.

    Attributes
    ----------
    title : the run's name, or its path if several have that name.
    report : its report, without text that steers a terminal.
    answers : what its rows kept of their answers, by the rows' names.
    missing : sentences on rows whose answers can't be used.
    """

    title: str
    report: Report
    answers: Mapping[str, KeptAnswers] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def read_runs(paths: Sequence[str | os.PathLike[str]]) -> list[Run]:
    """Return the runs in these folders, or of these reports.

    The answers lie beside a report, in the folders of the stages.

    Raises
    ------
    InputError : one of them isn't the folder of a run, or a report.json.
    """
    reports = [printable(read_report(path)) for path in paths]
    names = [report.name for report in reports]
    runs = []
    for path, report in zip(paths, reports, strict=True):
        title = report.name if names.count(report.name) == 1 else shown(str(Path(path)), keep="")
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        answers, missing = _answers(report, folder / STAGES)
        runs.append(Run(title, report, answers, missing))
    return runs


def _answers(report: Report, stages: Path) -> tuple[dict[str, KeptAnswers], tuple[str, ...]]:
    found: dict[str, KeptAnswers] = {}
    problems: dict[str, list[str]] = {}
    for row in report.stages:
        try:
            path = inside(stages, stage_folder(row.index, row.name)) / ANSWERS
            if not path.is_file():
                problems.setdefault(_LACKING, []).append(row.name)
                continue
            kept = from_file(path)
        except InputError:
            problems.setdefault("can't be read", []).append(row.name)
            continue
        same = kept.quality.metric == row.quality.metric and isclose(
            kept.quality.value, row.quality.value, rel_tol=1e-9, abs_tol=1e-12
        )
        if same and kept.quality.samples == row.quality.samples:
            found[row.name] = kept
        else:
            problems.setdefault("belong to another report", []).append(row.name)
    if len(problems.get(_LACKING, [])) == len(report.stages) and report.stages:
        return found, ("no row has kept answers beside the report",)
    return found, tuple(
        f"the answers of {', '.join(names)} {said}" for said, names in problems.items()
    )
