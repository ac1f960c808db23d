"""A comparison as tables and sentences, for any output format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.report import words
from compress.report.tables import Table

if TYPE_CHECKING:
    from compress.measurement.results import Difference, Quality
    from compress.report.comparison.compare import Cell, Comparison
    from compress.report.comparison.runs import Run

TESTS = {"mcnemar": "McNemar's exact test", "bootstrap": "a paired bootstrap"}
BELOW = (
    "Each cell: quality and size; the difference from the first run's row of that name (or of its "
    "final model) with the verdict, by the samples that both answered; then latency and speedup, "
    "by batch size. A speedup is over the run's own reference; latencies of different runs "
    "weren't taken side by side, which `compress bench` does."
)


def rows_table(comparison: Comparison) -> Table:
    """Return a table with one row for each name, and a column for each run."""
    head = ["stage", *(run.title for run in comparison.runs)]
    rows = [
        [name, *(_cell(run, cell) for run, cell in zip(comparison.runs, cells, strict=True))]
        for name, cells in comparison.rows.items()
    ]
    return Table(head, rows)


def _cell(run: Run, cell: Cell | None) -> str:
    """Return what a cell shows, in lines."""
    if cell is None:
        return words.NONE
    row = cell.row
    lines = [f"{words.value(row.quality)}  {words.size(row.size_bytes)}"]
    lines += [words.LEFT_ASIDE] if row.left_aside else []
    if cell.difference is not None:
        change = words.difference(cell.difference.change, row.quality)
        lines.append(f"{change} {cell.difference.verdict}")
    for batch, latency in row.latency_ms.items():
        found = row.speedup.get(batch) if words.is_compared(run.report, row) else None
        ratio = words.times(found.vs_original) if found else ""
        lines.append(f"{batch}: {words.milliseconds(latency)} {ratio}".rstrip())
    return "\n".join(lines)


def recipe_table(comparison: Comparison) -> Table:
    """Return a table of the keys by which the recipes differ."""
    head = ["key", *(run.title for run in comparison.runs)]
    return Table(
        head,
        [
            [line.key, *(words.NONE if value is None else value for value in line.values)]
            for line in comparison.recipes
        ],
    )


def verdicts(comparison: Comparison) -> list[str]:
    """Return a sentence on the final model of each run but the first, against the first run."""
    return [
        f"{run.title}: {_said(cell, cell.difference)}"
        for run, cell in comparison.finals
        if cell.difference is not None
    ]


def _said(cell: Cell, found: Difference) -> str:
    quality = cell.row.quality
    against = comparison_name(cell)
    alike = "" if found.agreement is None else f", {found.agreement:.1%} of the answers alike"
    return (
        f"{against} {quality.metric} {words.value(quality)}, {changed(found, quality)}{alike}. "
        f"The smallest difference that these samples could show is "
        f"{words.difference(found.smallest, quality).lstrip('+')}."
    )


def comparison_name(cell: Cell) -> str:
    """Return which rows a cell compares, such as "'export' against the first run's 'export':"."""
    return f"'{cell.row.name}' against the first run's '{cell.against}':"


def changed(found: Difference, quality: Quality) -> str:
    """Return a difference in words: its interval, its verdict and its test."""
    low, high = (words.difference(end, quality) for end in found.ci95)
    return (
        f"{words.difference(found.change, quality)} (95 %: {low} to {high}), {found.verdict} "
        f"({TESTS[found.test]}, {probability(found.p_value)}, {found.samples:,} samples)"
    )


def probability(p_value: float) -> str:
    """Return a p-value in words, such as "p = 0.012"."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def statuses(comparison: Comparison) -> list[str]:
    """Return how each run ended."""
    found = []
    for run in comparison.runs:
        failed = [
            gate.name.replace("_", " ")
            for gate in run.report.gates
            if words.outcome(gate) == "failed"
        ]
        more = f" ({', '.join(failed)})" if failed else ""
        more = more if run.report.error is None else f": {run.report.error}"
        found.append(f"{run.title}: {words.STATUS[run.report.status]}{more}")
    return found
