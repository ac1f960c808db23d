"""The figures of `compress bench`, as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from compress.core.shown import shown
from compress.measurement.environment import cpu_name, environment
from compress.report import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from compress.measurement.bench.compare import Bench, Timing


def show_bench(found: Bench, console: Console) -> None:
    """Print a table for each number of threads, and the inputs and CPU of the figures."""
    for threads in dict.fromkeys(timing.threads for timing in found.timings):
        console.print(Text(f"{threads} thread{'s' if threads > 1 else ''}:"))
        timings = [each for each in found.timings if each.threads == threads]
        console.print(_table(timings, found.size_bytes))
    console.print(Text(f"Inputs: {shown(found.inputs)}."))
    for note in found.notes:
        console.print(Text(f"careful: {shown(note)}", "yellow"))
    console.print(Text(f"Brackets: 95 % intervals. Measured on {cpu_name()}."))


def bench_document(found: Bench) -> dict[str, Any]:
    """Return the figures as plain JSON."""
    return {
        "schema": 1,
        "environment": environment(threads=max(each.threads for each in found.timings)),
        "models": {
            name: {"path": str(path), "size_bytes": found.size_bytes[name]}
            for name, path in found.models.items()
        },
        "inputs": found.inputs,
        "notes": list(found.notes),
        "timings": [asdict(each) for each in found.timings],
    }


def _table(timings: list[Timing], sizes: Mapping[str, int]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, collapse_padding=True)
    table.add_column("batch", justify="right", no_wrap=True)
    table.add_column("model", overflow="fold")
    for title in ("size", "median ms", "p95 ms", "samples/s", "speedup"):
        table.add_column(title, justify="right", no_wrap=True)
    for batch in dict.fromkeys(each.batch_size for each in timings):
        same = [each for each in timings if each.batch_size == batch]
        for each in same:
            table.add_row(
                Text(str(batch)),
                Text(shown(each.model, keep="")),
                Text(words.size(sizes[each.model])),
                _bracketed(each.p50_ms, each.p50_ci95),
                Text(_number(each.p95_ms)),
                _bracketed(each.samples_per_second, each.samples_per_second_ci95),
                Text("1") if each is same[0] else _bracketed(each.speedup, each.speedup_ci95),
            )
        table.add_section()
    return table


def _bracketed(value: float, interval: tuple[float, float]) -> Text:
    """Return a value with its interval on a line of its own, to leave room for models' names."""
    text = Text(_number(value))
    text.append(f"\n[{_number(interval[0])}, {_number(interval[1])}]", "cyan")
    return text


def _number(value: float) -> str:
    """Return a number with three digits, or with all digits before the point."""
    digits = next((n for n, least in enumerate((99.95, 9.995, 0.9995)) if value >= least), 3)
    return f"{value:.{digits}f}"
