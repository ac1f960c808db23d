"""A comparison in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from compress.report import words
from compress.report.comparison import tables
from compress.report.terminal import stage_table

if TYPE_CHECKING:
    from rich.console import Console

    from compress.report.comparison.compare import Comparison
    from compress.report.tables import Table as Cells

_TOGETHER = 4
_STYLES = {"better": "green", "worse": "bold red"}


def show_comparison(comparison: Comparison, console: Console) -> None:
    """Print runs side by side, rows aligned by name; what makes figures unlike comes first."""
    for warning in comparison.warnings:
        console.print(Text(f"careful: {warning}", "bold yellow"))
    for line in tables.verdicts(comparison):
        console.print(Text(line, "bold"))
    for columns in _columns(len(comparison.runs)):
        console.print(_rows(tables.rows_table(comparison), columns))
    console.print(Text(tables.BELOW, "dim"))
    for line in tables.statuses(comparison):
        console.print(Text(line))
    if comparison.recipes:
        console.print(Text("\nThe recipes differ in:"))
        for columns in _columns(len(comparison.runs)):
            console.print(_recipes(tables.recipe_table(comparison), columns))


def _columns(runs: int) -> list[range]:
    """Return the columns of each table, for a few runs at a time; column 0 holds names."""
    return [
        range(start, min(start + _TOGETHER, runs + 1)) for start in range(1, runs + 1, _TOGETHER)
    ]


def _rows(found: Cells, columns: range) -> Table:
    table = stage_table()
    for column in columns:
        table.add_column(Text(found.head[column]), overflow="fold")
    for row in found.rows:
        cells = [row[column] for column in columns]
        if any(cell != words.NONE for cell in cells):
            table.add_row(Text(row[0]), *map(_cell, cells))
    return table


def _cell(text: str) -> Text:
    first, *rest = text.split("\n")
    cell = Text(first)
    for line in rest:
        verdict = line.partition(" ")[2]
        cell.append(f"\n{line}", _STYLES.get(verdict, "cyan"))
    return cell


def _recipes(found: Cells, columns: range) -> Table:
    table = stage_table()
    table.columns[0].header, table.columns[0].max_width = "key", None
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    for column in columns:
        table.add_column(Text(found.head[column]), overflow="fold")
    for row in found.rows:
        table.add_row(Text(row[0]), *(Text(row[column]) for column in columns))
    return table
