"""The ledger's tables in words, for any output format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from compress.core.shown import one_line
from compress.measurement.results import Evaluation
from compress.report import words
from compress.report.document import Report, Row


class Table(NamedTuple):
    """Titles of columns, and rows with a cell for each."""

    head: list[str]
    rows: list[list[str]]


def stages(report: Report) -> Table:
    """Return a table with one row for each stage."""
    batches = words.batch_sizes(report)
    head = ["stage", "params", "MACs", "size", words.metric(report), "difference"]
    for batch in batches:
        head += [f"batch {batch}", f"speedup at {batch}"]
    head += ["time", "peak memory"]
    return Table(head, [_row(report, row, batches) for row in report.stages])


def _row(report: Report, row: Row, batches: Sequence[str]) -> list[str]:
    compared = row.delta if words.is_compared(report, row) else None
    cells = [
        words.stage(row),
        words.count(row.params),
        words.count(row.macs),
        words.size(row.size_bytes),
        words.quality(row.quality),
        words.against(row.vs_reference, compared.quality, row.quality) if compared else words.NONE,
    ]
    for batch in batches:
        cells.append(words.milliseconds(row.latency_ms.get(batch)))
        found = row.speedup.get(batch) if words.is_compared(report, row) else None
        cells.append(words.speedup(found))
    return [*cells, words.duration(row.seconds), words.size(row.peak_memory_bytes)]


def runtimes(report: Report) -> list[tuple[str, Table]]:
    """Return a title and a table of speeds for each runtime beside ONNX Runtime."""
    names = dict.fromkeys(name for row in report.stages for name in row.runtimes)
    return [(words.runtime_title(name), _runtime(report, name)) for name in names]


def _runtime(report: Report, name: str) -> Table:
    batches = words.batch_sizes(report)
    head = ["stage"]
    for batch in batches:
        head += [f"batch {batch}", "vs original here", "vs original in ONNX Runtime"]
    head += ["same answers"]
    return Table(head, [_in_runtime(row, name, batches) for row in report.stages])


def _in_runtime(row: Row, name: str, batches: Sequence[str]) -> list[str]:
    found = row.runtimes.get(name)
    if found is None:
        return [words.stage(row), *([words.NONE] * (3 * len(batches) + 1))]
    cells = [words.stage(row)]
    for batch in batches:
        cells += [
            words.milliseconds(found.latency_ms.get(batch)),
            words.speedup(found.speedup.get(batch)),
            words.speedup(found.speedup_vs_onnxruntime.get(batch)),
        ]
    return [*cells, f"{found.agreement:.1%}"]


def from_text(report: Report) -> list[tuple[str, Table]]:
    """Return a title and a table of times from a text to its answer; empty if none was taken."""
    if not any(row.from_text for row in report.stages):
        return []
    batches = words.batch_sizes(report)
    head = ["stage"]
    for batch in batches:
        head += [f"batch {batch}", f"speedup at {batch}"]
    return [
        (words.FROM_TEXT, Table(head, [_from_text(report, row, batches) for row in report.stages]))
    ]


def _from_text(report: Report, row: Row, batches: Sequence[str]) -> list[str]:
    found = row.from_text
    if found is None:
        return [words.stage(row), *([words.NONE] * (2 * len(batches)))]
    cells = [words.stage(row)]
    for batch in batches:
        cells.append(words.milliseconds(found.latency_ms.get(batch)))
        compared = found.speedup.get(batch) if words.is_compared(report, row) else None
        cells.append(words.speedup(compared))
    return cells


def generation(report: Report) -> list[tuple[str, Table]]:
    """Return a title and a table of tokens a second; empty unless models generated text."""
    found = next((row.generation for row in report.stages if row.generation), None)
    if found is None:
        return []
    head = ["stage", "prefill", "speedup", "decoding", "speedup", "cache"]
    rows = [_generating(report, row) for row in report.stages]
    return [(words.generation_title(found), Table(head, rows))]


def _generating(report: Report, row: Row) -> list[str]:
    if row.generation is None:
        return [words.stage(row), *([words.NONE] * 5)]
    cells = [words.stage(row)]
    for rate in (row.generation.prefill, row.generation.decoding):
        compared = rate.speedup if words.is_compared(report, row) else None
        cells += [words.tokens(rate.tokens_per_second), words.speedup(compared)]
    return [*cells, "yes" if row.generation.cached else "no"]


def candidates(row: Row) -> Table:
    """Return a table with one row for each candidate of the stage."""
    batches = list(row.candidates[0].speedup) if row.candidates else []
    head = ["candidate", row.candidates[0].quality.metric if row.candidates else "quality"]
    head += ["loss", *map(words.speedup_title, batches), "size", "verdict"]
    return Table(head, [_candidate(each, batches) for each in row.candidates])


def _candidate(candidate: Evaluation, batches: Sequence[str]) -> list[str]:
    verdict = "chosen" if candidate.chosen else "" if candidate.fits else "over the budget"
    return [
        candidate.name,
        words.quality(candidate.quality),
        f"{candidate.loss:+.4f}",
        *(words.speedup(candidate.speedup.get(batch)) for batch in batches),
        words.size(candidate.size_bytes),
        verdict,
    ]


def gates(report: Report) -> Table:
    """Return a table with one row for each gate; the last cell is that of `words.outcome`."""
    rows = [[*words.gate(result), words.outcome(result)] for result in report.gates]
    return Table(["gate", "value", "limit", "result"], rows)


def environment(report: Report) -> Table:
    """Return a table of the software and the machine of the run."""
    rows = [["compress", f"{report.version}, recipe {report.recipe_hash[:12] or 'unknown'}"]]
    for key, value in report.environment.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {inner}" for name, inner in value.items())
        elif isinstance(value, list):
            value = ", ".join(str(item) for item in value)
        rows.append([key.replace("_", " "), str(value)])
    return Table(["what", "value"], rows)


def below_stages(report: Report) -> str:
    """Return a sentence on the reference of the differences, and on the ranges."""
    reference = one_line(report.stages[report.reference].name).replace("`", "'")
    text = (
        f"Differences and speedups are against `{reference}`. Latencies are medians; "
        "ranges are 95 % confidence intervals."
    )
    return " ".join(filter(None, [text, words.direction(report)]))
