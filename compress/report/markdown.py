"""report.md: the ledger for people, in a form that renders on any code host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compress.report import words

if TYPE_CHECKING:
    from compress.report.document import Report, Row


def markdown(report: Report) -> str:
    """The whole report as Markdown."""
    parts = [f"# {_escape(report.name)}", f"Status: {words.STATUS[report.status]}."]
    if report.stages:
        parts += ["## Stages", _stages(report)]
        reference = report.stages[report.reference].name
        parts.append(
            f"Differences and speedups are against `{reference}`. Latencies are medians; "
            "ranges are 95 % confidence intervals."
        )
        if direction := words.direction(report):
            parts[-1] += f" {direction}"
    if report.gates:
        parts += ["## Gates", _gates(report)]
    if notes := words.notes(report):
        parts += ["## Notes", "\n".join(f"- {_escape(note)}" for note in notes)]
    parts += ["## Environment", _environment(report)]
    return "\n\n".join(parts) + "\n"


def _stages(report: Report) -> str:
    batches = words.batch_sizes(report)
    head = ["stage", "params", "MACs", "size", words.metric(report), "difference"]
    for batch in batches:
        head += [f"batch {batch}", f"speedup at {batch}"]
    head += ["time", "peak memory"]
    return _table(head, [_row(report, row, batches) for row in report.stages])


def _row(report: Report, row: Row, batches: Sequence[str]) -> list[str]:
    compared = row.delta if words.is_compared(report, row) else None
    cells = [
        row.name,
        words.count(row.params),
        words.count(row.macs),
        words.size(row.size_bytes),
        words.quality(row.quality),
        words.difference(compared.quality if compared else None, row.quality),
    ]
    for batch in batches:
        cells.append(words.milliseconds(row.latency_ms.get(batch)))
        found = row.speedup.get(batch) if words.is_compared(report, row) else None
        cells.append(words.speedup(found))
    return [*cells, words.duration(row.seconds), words.size(row.peak_memory_bytes)]


def _gates(report: Report) -> str:
    rows = []
    for result in report.gates:
        name, value, limit = words.gate(result)
        rows.append([name, value, limit, "passed" if result.passed else "**failed**"])
    return _table(["gate", "value", "limit", "result"], rows)


def _environment(report: Report) -> str:
    lines = [f"- compress {report.version}, recipe {report.recipe_hash[:12] or 'unknown'}"]
    for key, value in report.environment.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {inner}" for name, inner in value.items())
        elif isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        lines.append(f"- {key.replace('_', ' ')}: {_escape(str(value))}")
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_escape(cell) for cell in line)} |" for line in lines)


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
