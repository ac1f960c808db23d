"""report.md: the ledger for people, in a form that renders on any code host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.report import tables, words

if TYPE_CHECKING:
    from compress.report.document import Report


def markdown(report: Report) -> str:
    """The whole report as Markdown."""
    parts = [f"# {escape(report.name)}", f"Status: {words.STATUS[report.status]}."]
    if report.error is not None:
        parts.append(f"**{escape(report.error)}**")
    if report.stages:
        parts += ["## Stages", table(tables.stages(report)), tables.below_stages(report)]
    if report.gates:
        parts += ["## Gates", table(_loud(tables.gates(report)))]
    for row in report.stages:
        if row.candidates:
            title, choices = words.candidates_title(row), tables.candidates(row)
            parts += [f"## {escape(title)}", table(choices), words.BELOW_CANDIDATES]
    if notes := words.notes(report):
        parts += ["## Notes", "\n".join(f"- {escape(note)}" for note in notes)]
    parts += ["## Environment", _environment(report)]
    return "\n\n".join(parts) + "\n"


def _loud(gates: tables.Table) -> tables.Table:
    """With what failed in bold."""
    rows = [[*cells, "**failed**" if last == "failed" else last] for *cells, last in gates.rows]
    return gates._replace(rows=rows)


def _environment(report: Report) -> str:
    compress, *others = tables.environment(report).rows
    lines = [" ".join(compress), *(f"{name}: {escape(value)}" for name, value in others)]
    return "\n".join(f"- {line}" for line in lines)


def table(given: tables.Table) -> str:
    """A table as Markdown."""
    lines = [given.head, ["---"] * len(given.head), *given.rows]
    return "\n".join(f"| {' | '.join(escape(cell) for cell in line)} |" for line in lines)


def escape(text: str) -> str:
    """A text that stands in a line or in a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
