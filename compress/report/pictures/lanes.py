"""Pictures with a lane for each stage: waterfalls of quality and speed, spread of latencies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compress.report import words
from compress.report.pictures.axes import Tick, axis_over

if TYPE_CHECKING:
    from compress.report.document import Report, Row

Tone = Literal["good", "bad", "plain"]
_FEW_TICKS = 5
_WIDTH, _LEFT, _RIGHT, _TOP, _LANE = 360.0, 92.0, 12.0, 24.0, 34.0


@dataclass(frozen=True)
class Lane:
    """What is drawn of one stage, in the values of the axis.

    Attributes
    ----------
    bar : the ends of a thick bar.
    whisker : the ends of a thin line.
    tick : a place that is marked.
    text : shown when the pointer is on it, and read aloud.
    note : written above the bar.
    """

    name: str
    text: str
    note: str
    bar: tuple[float, float] | None = None
    whisker: tuple[float, float] | None = None
    tick: float | None = None
    tone: Tone = "plain"


@dataclass(frozen=True)
class DrawnLane:
    """A lane in pixels; see `Lane`."""

    name: str
    text: str
    note: str
    tone: Tone
    y: float
    bar: tuple[float, float] | None
    whisker: tuple[float, float] | None
    tick: float | None


@dataclass(frozen=True)
class Lanes:
    """A picture of lanes, in pixels from the upper left."""

    title: str
    axis: str
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    ticks: Sequence[Tick]
    lanes: Sequence[DrawnLane]
    said: str


def lanes(title: str, found: Sequence[Lane], *, axis: str, logarithmic: bool = False) -> Lanes:
    """Lay out lanes below one another over one axis."""
    right, bottom = _WIDTH - _RIGHT, _TOP + _LANE * len(found)
    values = [
        value
        for lane in found
        for value in (*(lane.bar or ()), *(lane.whisker or ()), lane.tick)
        if value is not None and math.isfinite(value)
    ]
    scaled = logarithmic and bool(values) and min(values) > 0 and max(values) > 1.5 * min(values)
    over = axis_over(map(math.log10, values) if scaled else values, start=_LEFT, end=right)

    def place(value: float) -> float:
        return over.place(math.log10(value) if scaled else value)

    def ends(pair: tuple[float, float] | None) -> tuple[float, float] | None:
        if pair is None or not all(map(math.isfinite, pair)):
            return None
        low, high = sorted(map(place, pair))
        return low, high

    rounds = _round_values(over.low, over.high) if scaled else []
    ticks = [Tick(place(value), f"{value:g}") for value in rounds] or over.ticks(most=4)
    drawn = [
        DrawnLane(
            lane.name,
            lane.text,
            lane.note,
            lane.tone,
            _TOP + _LANE * (number + 0.62),
            ends(lane.bar),
            ends(lane.whisker),
            None if lane.tick is None else place(lane.tick),
        )
        for number, lane in enumerate(found)
    ]
    return Lanes(
        title, axis, _WIDTH, bottom + 38, _LEFT, right, _TOP, bottom, ticks, drawn, f"{title}."
    )


def _round_values(low: float, high: float) -> list[float]:
    """Return a few round values between two logarithms."""
    inside: list[float] = []
    for factors in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        powers = range(math.floor(low), math.ceil(high) + 1)
        found = [factor * 10.0**power for power in powers for factor in factors]
        inside = [value for value in found if low <= math.log10(value) <= high]
        if len(inside) <= _FEW_TICKS:
            break
    return inside


def _kept(report: Report) -> list[Row]:
    """Return the reference and later rows, without models that a gate left aside."""
    return [row for row in report.stages[report.reference :] if not row.left_aside]


def quality_waterfall(report: Report) -> Lanes | None:
    """Return what each stage did to quality; None before a row follows the reference."""
    rows = _kept(report)
    if len(rows) < 2:
        return None
    title = f"What each stage did to {rows[0].quality.metric}"
    found = [_start(rows[0])]
    for before, row in itertools.pairwise(rows):
        change = row.quality.value - before.quality.value
        verdict = row.vs_previous.verdict if row.vs_previous else ""
        said = words.difference(change, row.quality)
        text = f"{row.name}: {words.quality(row.quality)}, {said} against {before.name}"
        found.append(
            Lane(
                row.name,
                f"{text}: {verdict}" if verdict else text,
                f"{said} {verdict}".strip(),
                bar=(before.quality.value, row.quality.value),
                whisker=row.quality.ci95,
                tick=row.quality.value,
                tone=_judged(row, change if row.quality.higher_is_better else -change),
            )
        )
    return lanes(title, found, axis=f"{rows[0].quality.metric}, with 95 % intervals")


def _start(row: Row) -> Lane:
    said = words.quality(row.quality)
    return Lane(
        row.name, f"{row.name}: {said}", said, whisker=row.quality.ci95, tick=row.quality.value
    )


def speed_waterfalls(report: Report) -> list[Lanes]:
    """Return what each stage did to speed, by batch size; a bar's length is a factor."""
    rows = _kept(report)
    return [
        found
        for batch in words.batch_sizes(report)
        if (found := _speed(rows, batch, report)) is not None
    ]


def _speed(rows: Sequence[Row], batch: str, report: Report) -> Lanes | None:
    timed = [row for row in rows if batch in row.speedup]
    if len(timed) < 2:
        return None
    found = [Lane(timed[0].name, f"{timed[0].name}: 1x", "1x", tick=1.0)]
    before = 1.0
    for row in timed[1:]:
        speed = row.speedup[batch]
        factor = speed.vs_previous if speed.vs_previous is not None else speed.vs_original / before
        note = f"x {words.times(factor).removesuffix('x')}"
        found.append(
            Lane(
                row.name,
                f"{row.name}: {words.speedup(speed)} as fast as {timed[0].name}; "
                f"{words.times(factor)} as fast as the model before",
                f"{note} = {words.times(speed.vs_original)}",
                bar=(before, speed.vs_original),
                whisker=speed.ci95,
                tick=speed.vs_original,
                tone=_tone(speed.vs_original - before),
            )
        )
        before = speed.vs_original
    return lanes(
        f"What each stage did to speed at batch {batch}",
        found,
        axis=f"times as fast as {timed[0].name}",
        logarithmic=True,
    )


def _judged(row: Row, gain: float) -> Tone:
    """Return the tone of a change of quality: plain unless its test tells it from none."""
    found = row.vs_previous
    if found is not None and found.verdict not in ("better", "worse"):
        return "plain"
    return _tone(gain)


def _tone(gain: float) -> Tone:
    return "good" if gain > 0 else "bad" if gain < 0 else "plain"


def spreads(report: Report) -> list[Lanes]:
    """Return the spread of all timed calls of each row, by batch size, where it was kept."""
    pictures = []
    for batch in words.batch_sizes(report):
        found = [
            Lane(
                row.name,
                f"{row.name}: median {latency.p50:.3g} ms, half of the calls between "
                f"{latency.quantiles[5]:.3g} and {latency.quantiles[15]:.3g}, "
                f"95 % below {latency.p95:.3g} ms",
                f"{latency.p50:.3g} ms, 95 % below {latency.p95:.3g}",
                bar=(latency.quantiles[5], latency.quantiles[15]),
                whisker=(latency.quantiles[0], latency.quantiles[19]),
                tick=latency.p50,
            )
            for row in report.stages
            if (latency := row.latency_ms.get(batch)) is not None and latency.quantiles
        ]
        if found:
            title = f"Time of a call at batch {batch}"
            pictures.append(lanes(title, found, axis="milliseconds", logarithmic=True))
    return pictures
