"""Compares runs: rows by their names, recipes by their keys, and what makes figures unlike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compress.measurement.paired.difference import difference, unpaired
from compress.report import words
from compress.report.comparison.recipes import RecipeLine, changed_lines

if TYPE_CHECKING:
    from compress.measurement.results import Difference
    from compress.report.comparison.runs import Run
    from compress.report.document import Report, Row


@dataclass(frozen=True)
class Cell:
    """A row of one run, against a row of the first.

    Attributes
    ----------
    row : the row.
    against : the row of the first run with the same name, or else that of its final model; None for
        the first run itself.
    difference : its quality minus the other's; None if the two can't be compared sample by sample.
    """

    row: Row
    against: str | None = None
    difference: Difference | None = None


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    runs : the runs; differences are from the first.
    rows : by the name of the row a cell for each run; None where a run has no such row.
    recipes : keys of the recipes that differ.
    warnings : reasons why the figures may not be comparable.
    """

    runs: Sequence[Run]
    rows: Mapping[str, tuple[Cell | None, ...]]
    recipes: Sequence[RecipeLine]
    warnings: Sequence[str]

    @property
    def finals(self) -> list[tuple[Run, Cell]]:
        """Each run with the row of its final model, but for those that have none."""
        found = []
        for at, run in enumerate(self.runs):
            if run.report.stages:
                cell = self.rows[run.report.final.name][at]
                found += [] if cell is None else [(run, cell)]
        return found


def compare(runs: Sequence[Run]) -> Comparison:
    """Compare runs; the differences are from the first, by samples that both answered."""
    names = row_names([run.report for run in runs])
    rows = {
        name: tuple(_cell(run, name, None if run is runs[0] else runs[0]) for run in runs)
        for name in names
    }
    return Comparison(
        runs,
        rows,
        changed_lines([run.report.recipe for run in runs]),
        [*unlike([run.report for run in runs]), *_untested(runs, rows)],
    )


def row_names(reports: Sequence[Report]) -> list[str]:
    """Return the names of all rows, each once, in an order that keeps each run's own order."""
    names: list[str] = []
    for report in reports:
        position = 0
        for row in report.stages:
            if row.name in names:
                position = names.index(row.name) + 1
            else:
                position = position or len(names)
                names.insert(position, row.name)
                position += 1
    return names


def _cell(run: Run, name: str, first: Run | None) -> Cell | None:
    row = next((row for row in run.report.stages if row.name == name), None)
    if row is None or first is None or not first.report.stages:
        return None if row is None else Cell(row)
    theirs = [other.name for other in first.report.stages]
    against = name if name in theirs else first.report.final.name
    ours, other = run.answers.get(name), first.answers.get(against)
    if ours is None or other is None or unpaired(ours, other) is not None:
        return Cell(row, against)
    return Cell(row, against, difference(ours, other))


def unlike(reports: Sequence[Report]) -> list[str]:
    """Return what differs between runs and makes their figures hard to compare."""
    found = []
    for said, values in {
        "different CPUs": {str(report.environment.get("cpu")) for report in reports},
        "CPUs of different abilities": {_flags(report) for report in reports},
        "different threads": {str(report.environment.get("threads")) for report in reports},
        "different versions of ONNX Runtime": {_runtime(report) for report in reports},
    }.items():
        if len(values) > 1:
            found.append(f"measured with {said}: {'; '.join(sorted(values))}.")
    metrics = {words.metric(report) for report in reports if report.stages}
    if len(metrics) > 1:
        found.append(f"the metrics differ: {', '.join(sorted(metrics))}.")
    samples = {row.quality.samples for report in reports for row in report.stages}
    if len(samples) > 1:
        found.append(
            "quality was measured on different numbers of samples: "
            f"{', '.join(f'{number:,}' for number in sorted(samples))}."
        )
    data = {report.test_data for report in reports if report.test_data}
    if len(data) > 1:
        found.append("the test data differ: qualities are of different samples.")
    return found


def _flags(report: Report) -> str:
    flags: Any = report.environment.get("flags") or []
    return " ".join(str(flag) for flag in flags) or "none known"


def _runtime(report: Report) -> str:
    versions: Any = report.environment.get("versions") or {}
    return str(versions.get("onnxruntime", "unknown"))


def _untested(runs: Sequence[Run], rows: Mapping[str, tuple[Cell | None, ...]]) -> Iterator[str]:
    """Yield why differences aren't tested, each reason once."""
    for run in runs:
        for said in run.missing:
            yield f"{run.title}: {said}, so that differences aren't tested."
    reasons: dict[str, None] = {}
    for at, run in enumerate(runs):
        for cells in rows.values():
            cell = cells[at]
            if cell is None or cell.against is None or cell.difference is not None:
                continue
            ours, other = run.answers.get(cell.row.name), runs[0].answers.get(cell.against)
            why = None if ours is None or other is None else unpaired(ours, other)
            if why is not None:
                reasons[f"{run.title} can't be compared sample by sample: {why}."] = None
    yield from reasons
