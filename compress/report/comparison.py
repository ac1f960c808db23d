"""Shows runs side by side, stage by stage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from compress.core.shown import shown
from compress.report import words
from compress.report.document import Report, printable, read_report
from compress.report.terminal import stage_table

if TYPE_CHECKING:
    from rich.console import Console

_TOGETHER = 4


def read_runs(paths: Sequence[str | os.PathLike[str]]) -> list[tuple[str, Report]]:
    """Return reports, each with a title: the run's name, or its path if names repeat.

    Raises
    ------
    InputError : one of them isn't the folder of a run, or a report.json.
    """
    reports = [printable(read_report(path)) for path in paths]
    names = [report.name for report in reports]
    return [
        (report.name if names.count(report.name) == 1 else shown(str(Path(path)), keep=""), report)
        for path, report in zip(paths, reports, strict=True)
    ]


def stage_names(reports: Sequence[Report]) -> list[str]:
    """Return the names of all rows, each once, in an order that keeps each run's own order."""
    names: list[str] = []
    for report in reports:
        position = 0
        for row in report.stages:
            if row.name in names:
                position = names.index(row.name) + 1
            else:
                names.insert(position, row.name)
                position += 1
    return names


def show_comparison(runs: Sequence[tuple[str, Report]], console: Console) -> None:
    """Print runs side by side, rows aligned by stage name.

    Parameters
    ----------
    runs : (title, report) pairs.
    """
    for start in range(0, len(runs), _TOGETHER):
        console.print(_table(runs, runs[start : start + _TOGETHER]))
    console.print(
        "Each cell: quality and size; then latency and speedup, by batch size.", style="dim"
    )
    for title, report in runs:
        failed = [gate.name.replace("_", " ") for gate in report.gates if not gate.passed]
        more = f" ({', '.join(failed)})" if failed else ""
        more = more if report.error is None else f": {report.error}"
        console.print(Text(f"{title}: {words.STATUS[report.status]}{more}"))
    for warning in warnings([report for _, report in runs]):
        console.print(Text(f"careful: {warning}", "yellow"))


def warnings(reports: Sequence[Report]) -> list[str]:
    """Return reasons why the numbers of these runs may not be comparable."""
    found = []
    machines = {str(report.environment.get("cpu")) for report in reports}
    if len(machines) > 1:
        found.append(f"measured on different CPUs: {'; '.join(sorted(machines))}.")
    threads = {str(report.environment.get("threads")) for report in reports}
    if len(threads) > 1:
        found.append(f"measured with different threads: {', '.join(sorted(threads))}.")
    metrics = {words.metric(report) for report in reports if report.stages}
    if len(metrics) > 1:
        found.append(f"the metrics differ: {', '.join(sorted(metrics))}.")
    samples = {row.quality.samples for report in reports for row in report.stages}
    if len(samples) > 1:
        found.append(
            "quality was measured on different numbers of samples: "
            f"{', '.join(str(number) for number in sorted(samples))}."
        )
    return found


def _table(all_runs: Sequence[tuple[str, Report]], runs: Sequence[tuple[str, Report]]) -> Table:
    table = stage_table()
    for title, _ in runs:
        table.add_column(Text(title), overflow="fold")
    for name in stage_names([report for _, report in all_runs]):
        cells = [_cell(report, name) for _, report in runs]
        if any(cell is not None for cell in cells):
            table.add_row(Text(name), *(cell or Text(words.NONE) for cell in cells))
    return table


def _cell(report: Report, name: str) -> Text | None:
    row = next((row for row in report.stages if row.name == name), None)
    if row is None:
        return None
    text = Text(f"{words.value(row.quality)}  {words.size(row.size_bytes)}")
    for batch, latency in row.latency_ms.items():
        found = row.speedup.get(batch) if words.is_compared(report, row) else None
        ratio = words.times(found.vs_original) if found else ""
        text.append(f"\n{batch}: {words.milliseconds(latency)} {ratio}".rstrip(), "cyan")
    return text
