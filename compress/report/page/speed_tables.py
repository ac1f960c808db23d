"""Tables of speed beyond the median, of serving, and of what each stage cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compress.report import words
from compress.report.page.cells import Cell, Grid

if TYPE_CHECKING:
    from compress.report.document import Attribution, Report, Row


def serving(report: Report) -> Grid | None:
    """Return percentiles, throughput, memory and load time; None if no row has more than p95."""
    batches = words.batch_sizes(report)
    if not any(_has_more(row) for row in report.stages):
        return None
    head = ["stage"]
    for batch in batches:
        head += [f"p50 at {batch}", f"p95 at {batch}", f"p99 at {batch}"]
    head += ["throughput", "memory of serving", "time to load"]
    return Grid("Serving", head, [_serving(row, batches) for row in report.stages])


def _named(row: Row) -> Cell:
    return Cell(row.name, words.LEFT_ASIDE if row.left_aside else "")


def _has_more(row: Row) -> bool:
    tails = (latency.p99 is not None for latency in row.latency_ms.values())
    return row.throughput is not None or row.serving is not None or any(tails)


def _serving(row: Row, batches: list[str]) -> list[Cell]:
    cells = [_named(row)]
    for batch in batches:
        latency = row.latency_ms.get(batch)
        values = (None, None, None) if latency is None else (latency.p50, latency.p95, latency.p99)
        cells += [Cell(words.NONE if value is None else _ms(value), sort=value) for value in values]
    found = row.throughput
    if found is None:
        cells.append(Cell(words.NONE))
    else:
        rate = found.samples_per_second
        cells.append(Cell(f"{rate:,.0f}/s", f"at batch {found.batch_size}", rate))
    if row.serving is None:
        return [*cells, Cell(words.NONE), Cell(words.NONE)]
    memory, load = row.serving.memory_bytes, row.serving.load_ms
    return [*cells, Cell(words.size(memory), sort=memory), Cell(_ms(load), sort=load)]


def _ms(value: float) -> str:
    return f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f} ms"


def attribution(report: Report) -> Grid | None:
    """Return what each stage cost and brought; None if that isn't known."""
    if not report.attribution:
        return None
    batches = list(dict.fromkeys(batch for each in report.attribution for batch in each.speedup))
    head = ["stage", "took", "on", words.metric(report), "of the smaller size"]
    head += [f"of the speed at {batch}" for batch in batches]
    has_energy = any(each.energy_kwh is not None for each in report.attribution)
    head += ["energy"] if has_energy else []
    quality = report.stages[0].quality
    body = []
    for each in report.attribution:
        cells = [
            Cell(each.name),
            Cell(words.duration(each.seconds), sort=each.seconds),
            Cell(each.device or words.NONE),
            Cell(words.difference(each.quality, quality), sort=each.quality),
            _share(each.size),
            *(_share(each.speedup.get(batch)) for batch in batches),
        ]
        body.append([*cells, *([_energy(each)] if has_energy else [])])
    return Grid("What each stage cost and brought", head, body)


def _share(value: float | None) -> Cell:
    if value is None:
        return Cell(words.NONE)
    tone = "bad" if value < 0 else ""
    return Cell(f"{value:.0%}", sort=value, tone=tone, bars=(min(1.0, max(0.0, value)),))


def _energy(each: Attribution) -> Cell:
    if each.energy_kwh is None:
        return Cell(words.NONE)
    return Cell(f"{each.energy_kwh * 1000:.2g} Wh", sort=each.energy_kwh)


def typical(report: Report) -> Grid | None:
    """Return the speed at the data's median length or size; None if no row was timed there."""
    timed = [row for row in report.stages if row.typical is not None]
    if not timed:
        return None
    first = timed[0].typical
    batches = list(first.latency_ms) if first else []
    head = ["stage", "size", "full size", *(f"batch {batch}" for batch in batches)]
    body = []
    for row in timed:
        found = row.typical
        if found is None:
            continue
        cells = [_named(row), Cell(_size(found.size)), Cell(_size(found.full))]
        for batch in batches:
            latency, speed = found.latency_ms.get(batch), found.speedup.get(batch)
            compared = speed if words.is_compared(report, row) else None
            below = "" if compared is None else words.speedup(compared)
            p50 = None if latency is None else latency.p50
            cells.append(Cell(words.milliseconds(latency), below, p50))
        body.append(cells)
    return Grid("At the data's median length or size", head, body)


def _size(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size)) if len(size) > 1 else f"{size[0]} tokens"


def conditions(report: Report) -> Grid | None:
    """Return how each row was timed, and how busy the machine was; None if that wasn't kept."""
    kept = [(row, row.conditions) for row in report.stages if row.conditions is not None]
    if not kept:
        return None
    head = ["stage", "measured for", "rounds", "load before", "busy with others", "swing"]
    body = []
    for row, found in kept:
        rounds = ", ".join(f"{count} at batch {batch}" for batch, count in found.rounds.items())
        noisy = f"too noisy at batch {', '.join(found.too_noisy)}" if found.too_noisy else ""
        body.append(
            [
                _named(row),
                Cell(words.duration(found.seconds), sort=found.seconds),
                Cell(rounds, noisy, tone="bad" if noisy else ""),
                _number(found.load_before, "{:.1f} a core"),
                _number(found.busy_during, "{:.0%}"),
                _number(found.swing, "{:.2f}x"),
            ]
        )
    return Grid("The machine while rows were timed", head, body)


def _number(value: float | None, form: str) -> Cell:
    return Cell(words.NONE) if value is None else Cell(form.format(value), sort=value)
