"""The table of stages in report.html, with the baseline below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.measurement.results import slower
from compress.report import words
from compress.report.page.cells import Cell, Grid

if TYPE_CHECKING:
    from compress.measurement.results import Baseline, Difference, Quality, Speedup
    from compress.report.document import Report, Row

_TONES = {"worse": "bad", "better": "good"}


def stage_table(report: Report) -> Grid:
    """Return a row for each stage, and one for the baseline."""
    batches = words.batch_sizes(report)
    name = report.stages[report.reference].name
    head = ["stage", "parameters", "MACs", "size", words.metric(report), f"against {name}"]
    head += [f"batch {batch}" for batch in batches]
    head += ["took", "peak memory"]
    rows = [_row(report, row, batches) for row in report.stages]
    if report.baseline is not None:
        rows.append(_baseline(report.baseline, batches))
    return Grid("Stages", head, rows)


def _row(report: Report, row: Row, batches: list[str]) -> list[Cell]:
    compared = row.delta if words.is_compared(report, row) else None
    return [
        Cell(row.name, _beside(report, row)),
        Cell(
            words.count(row.params), words.percent(compared.params) if compared else "", row.params
        ),
        Cell(words.count(row.macs), sort=row.macs),
        Cell(
            words.size(row.size_bytes),
            words.percent(compared.size) if compared else "",
            row.size_bytes,
        ),
        Cell(words.quality(row.quality), sort=row.quality.value),
        _against(
            row.vs_reference if compared else None,
            compared.quality if compared else None,
            row.quality,
        ),
        *(_speed(report, row, batch) for batch in batches),
        Cell(words.duration(row.seconds), sort=row.seconds),
        Cell(words.size(row.peak_memory_bytes), sort=row.peak_memory_bytes),
    ]


def _beside(report: Report, row: Row) -> str:
    """Return what stands below a row's name."""
    if row.index == report.reference:
        return "reference"
    kind = row.use if row.use and row.use != row.name else ""
    return ", ".join(filter(None, [kind, words.LEFT_ASIDE if row.left_aside else ""]))


def _against(found: Difference | None, change: float | None, quality: Quality) -> Cell:
    if found is None:
        return Cell(words.difference(change, quality), sort=change)
    low, high = (words.difference(end, quality) for end in found.ci95)
    text = f"{words.difference(found.change, quality)} ({low} to {high})"
    return Cell(text, found.verdict, found.change, _TONES.get(found.verdict, "soft"))


def _speed(report: Report, row: Row, batch: str) -> Cell:
    latency = row.latency_ms.get(batch)
    found = row.speedup.get(batch) if words.is_compared(report, row) else None
    return Cell(
        words.milliseconds(latency),
        "" if found is None else words.speedup(found),
        None if latency is None else latency.p50,
        _tone(found),
    )


def _tone(found: Speedup | None) -> str:
    if found is None or found.ci95 is None:
        return ""
    if slower(found.vs_original, found.ci95):
        return "bad"
    return "good" if found.ci95[0] > 1 else "soft"


def _baseline(found: Baseline, batches: list[str]) -> list[Cell]:
    change = found.verdict.change if found.verdict else None
    calls = [
        Cell(f"{found.call_ms:.3g} ms", found.runtime, found.call_ms)
        if batch == "1"
        else Cell(words.NONE)
        for batch in batches
    ]
    return [
        Cell(found.name, "baseline"),
        Cell(words.NONE),
        Cell(words.NONE),
        Cell(words.size(found.size_bytes), sort=found.size_bytes),
        Cell(words.quality(found.quality), sort=found.quality.value),
        _against(found.verdict, change, found.quality),
        *calls,
        Cell(words.duration(found.seconds), sort=found.seconds),
        Cell(words.NONE),
    ]
