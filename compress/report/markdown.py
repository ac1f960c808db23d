"""report.md: the ledger for people, in a form that renders on any code host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.report import tables, words

if TYPE_CHECKING:
    from compress.report.document import Report


def markdown(report: Report) -> str:
    """The whole report as Markdown."""
    parts = [f"# {_escape(report.name)}", f"Status: {words.STATUS[report.status]}."]
    if report.stages:
        parts += ["## Stages", _table(tables.stages(report)), tables.below_stages(report)]
    if report.gates:
        parts += ["## Gates", _table(_loud(tables.gates(report)))]
    if notes := words.notes(report):
        parts += ["## Notes", "\n".join(f"- {_escape(note)}" for note in notes)]
    parts += ["## Environment", _environment(report)]
    return "\n\n".join(parts) + "\n"


def _loud(gates: tables.Table) -> tables.Table:
    """With what failed in bold."""
    rows = [[*cells, "**failed**" if last == "failed" else last] for *cells, last in gates.rows]
    return gates._replace(rows=rows)


def _environment(report: Report) -> str:
    compress, *others = tables.environment(report).rows
    lines = [" ".join(compress), *(f"{name}: {_escape(value)}" for name, value in others)]
    return "\n".join(f"- {line}" for line in lines)


def _table(table: tables.Table) -> str:
    lines = [table.head, ["---"] * len(table.head), *table.rows]
    return "\n".join(f"| {' | '.join(_escape(cell) for cell in line)} |" for line in lines)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
