"""The ledger as a table for a terminal, or as plain text of 100 columns."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from compress.report import tables, words
from compress.report.document import printable
from compress.report.headline import sentence
from compress.report.notes import note_groups, warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compress.report.document import GateResult, Report, Row

WIDTH = 100
_BESIDE, _ALONE = 2, 4
_LONGEST_NAME = 16


def show(report: Report, console: Console) -> None:
    """Print a report.

    Parameters
    ----------
    console : the console to print on; it decides on colours and the width.
    """
    report = printable(report)
    _head(report, console)
    batches = words.batch_sizes(report)
    if report.stages:
        console.print(_ledger(report, batches[:_BESIDE]))
    for start in range(_BESIDE, len(batches), _ALONE):
        console.print(_latencies(report, batches[start : start + _ALONE]))
    _further_speeds(report, console)
    if direction := words.direction(report):
        console.print(f"{direction}\n", highlight=False, markup=False)
    if report.gates:
        for gate in report.gates:
            console.print(_gate(gate))
        console.print()
    for note in warnings(report):
        _note(console, note)
    if elsewhere := _elsewhere(report):
        console.print(f"{elsewhere}\n", highlight=False, markup=False)
    if machine := words.environment_line(report):
        console.print(Text(f"Measured on {machine}."))


def render(report: Report, *, width: int = WIDTH) -> str:
    """Return what `show` prints, as plain text."""
    console = plain_console(io.StringIO(), width=width)
    show(report, console)
    file = console.file
    text = file.getvalue() if isinstance(file, io.StringIO) else ""
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def plain_console(file: io.StringIO, *, width: int = WIDTH) -> Console:
    """Return a console without colours that writes into memory."""
    return Console(
        file=file, width=width, no_color=True, force_terminal=False, legacy_windows=False
    )


def stage_table() -> Table:
    """Return an empty table with a first column for the names of stages."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, collapse_padding=True)
    table.add_column("stage", no_wrap=True, max_width=_LONGEST_NAME)
    return table


def _head(report: Report, console: Console) -> None:
    console.print(f"{report.name}: {words.STATUS[report.status]}", highlight=False, markup=False)
    errors = [] if report.error is None else [report.error]
    for line in (*errors, *words.headlines(report)):
        console.print(Text(line, "bold red"))
    if said := sentence(report):
        console.print(Text(said))


def _further_speeds(report: Report, console: Console) -> None:
    plain = (*tables.from_text(report), *tables.generation(report))
    tabled = [(title, _plain(speeds)) for title, speeds in plain]
    tabled += [(title, _speeds(speeds)) for title, speeds in tables.runtimes(report)]
    for title, table in tabled:
        console.print(f"{title}:", highlight=False, markup=False)
        console.print(table)


def _ledger(report: Report, batches: Sequence[str]) -> Table:
    table = stage_table()
    for title in ("params", "MACs", "size"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(Text(f"{words.metric(report)}\ndifference"), no_wrap=True)
    _latency_columns(table, batches)
    table.add_column("time", justify="right", no_wrap=True)
    for row in report.stages:
        compared = row.delta if words.is_compared(report, row) else None
        table.add_row(
            _named(row),
            _two(words.count(row.params), words.percent(compared.params) if compared else ""),
            words.count(row.macs),
            _two(words.size(row.size_bytes), words.percent(compared.size) if compared else ""),
            _two(
                words.quality(row.quality),
                _difference(row) if compared else "",
            ),
            *_latency_cells(report, row, batches),
            words.duration(row.seconds),
        )
    return table


_VERDICTS = {"no difference seen": "alike", "too few samples to tell": "unsure"}
"""Verdicts in the width of a column."""


def _difference(row: Row) -> str:
    change = None if row.delta is None else row.delta.quality
    said = words.difference(change, row.quality)
    if row.vs_reference is None:
        return said
    verdict = row.vs_reference.verdict
    return f"{said} {_VERDICTS.get(verdict, verdict)}"


def _gate(gate: GateResult) -> Table:
    """Return a line on a gate, with a hanging indent if it is long."""
    name, value, limit = words.gate(gate)
    style = "green" if gate.passed else "bold red" if gate.then == "stop" else "yellow"
    outcome = words.outcome(gate)
    said = Text(outcome if gate.passed else outcome.upper(), style)
    table = Table.grid()
    table.add_row("  ", said, Text(f"  {name} {value} ({limit})"))
    return table


def _plain(found: tables.Table) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, collapse_padding=True)
    for number, title in enumerate(found.head):
        table.add_column(Text(title), no_wrap=number > 0)
    for cells in found.rows:
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _speeds(found: tables.Table) -> Table:
    """Return a table of speeds in a runtime, with the three cells of a batch size in one."""
    places = range(1, len(found.head) - 1, 3)
    table = stage_table()
    for place in places:
        table.add_column(Text("\n".join(found.head[place : place + 3])), no_wrap=True)
    table.add_column(Text(found.head[-1]), justify="right")
    for cells in found.rows:
        stacked = ["\n".join(cells[place : place + 3]) for place in places]
        table.add_row(*(Text(cell) for cell in (cells[0], *stacked, cells[-1])))
    return table


def _latencies(report: Report, batches: Sequence[str]) -> Table:
    table = stage_table()
    _latency_columns(table, batches)
    for row in report.stages:
        table.add_row(_named(row), *_latency_cells(report, row, batches))
    return table


def _latency_columns(table: Table, batches: Sequence[str]) -> None:
    for batch in batches:
        table.add_column(Text(f"batch {batch}\nspeedup"), no_wrap=True)


def _latency_cells(report: Report, row: Row, batches: Sequence[str]) -> list[Text]:
    cells = []
    for batch in batches:
        ratio = words.speedup(row.speedup.get(batch)) if words.is_compared(report, row) else ""
        cells.append(_two(words.milliseconds(row.latency_ms.get(batch)), ratio))
    return cells


def _named(row: Row) -> Text:
    return Text("\n".join([row.name, words.LEFT_ASIDE] if row.left_aside else [row.name]))


def _two(first: str, second: str) -> Text:
    text = Text(first)
    if second:
        text.append(f"\n{second}", "cyan")
    return text


def _note(console: Console, text: str) -> None:
    """Print a warning with a hanging indent."""
    table = Table.grid()
    table.add_row(Text("careful: ", "yellow"), Text(text))
    console.print(table)


def _elsewhere(report: Report) -> str:
    """Return what stands in the other reports alone, in words."""
    notes = sum(len(group.choices) + len(group.checks) for group in note_groups(report))
    candidates = sum(len(row.candidates) for row in report.stages)
    counted = ((notes, "note"), (candidates, "candidate"))
    found = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counted if count]
    return f"{' and '.join(found)}: in report.html, with pictures." if found else ""
