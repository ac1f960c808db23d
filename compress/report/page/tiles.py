"""The few figures at the top of report.html."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from compress.measurement.results import at, slower
from compress.report import words

if TYPE_CHECKING:
    from compress.report.document import Report

_TONES = {"worse": "bad", "better": "good"}


class Tile(NamedTuple):
    """A figure with what it means."""

    text: str
    below: str
    tone: str = ""


def tiles(report: Report) -> list[Tile]:
    """Return size, speeds and quality of the final model; empty before a row follows the reference.

    Speeds and changes are against the reference.
    """
    if len(report.stages) <= report.reference + 1:
        return []
    reference, final = report.stages[report.reference], report.final
    ratio = reference.size_bytes / final.size_bytes
    found = [Tile(f"{words.times(ratio)}", f"smaller: {words.size(final.size_bytes)}")]
    if ratio < 1:
        found = [Tile(words.times(1 / ratio), f"larger: {words.size(final.size_bytes)}", "bad")]
    for batch, speed in final.speedup.items():
        tone = "bad" if slower(speed.vs_original, speed.ci95) else ""
        latency = words.milliseconds(final.latency_ms.get(batch))
        said = f"as fast {at(batch)}: {latency}"
        found.append(Tile(words.times(speed.vs_original), said, tone))
    against = final.vs_reference
    said = f"{final.quality.metric}, of {words.value(reference.quality)}"
    tone = ""
    if against is not None:
        change = words.difference(against.change, final.quality)
        said = f"{final.quality.metric}, {change}: {against.verdict}"
        tone = _TONES.get(against.verdict, "")
    found.append(Tile(words.value(final.quality), said, tone))
    if final.serving is not None:
        found.append(Tile(words.size(final.serving.memory_bytes), "of memory to serve it"))
    return found
