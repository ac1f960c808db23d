"""Pictures of measured values, laid out for the template that writes them as SVG.

They are drawn here rather than by a script in the page. So a report stays small and looks the same
everywhere, even if scripts are forbidden.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from compress.report.pictures.axes import Axis, Tick, axis_over

COLOURS = 8
"""Number of colours in the template; further series use them again."""
_NEAR = 15.0
"""Distance in pixels within which two numbered marks share a label."""


@dataclass(frozen=True)
class Point:
    """A measured value.

    Attributes
    ----------
    x, y : its coordinates.
    x_range, y_range : its intervals.
    text : shown when the pointer is on it.
    """

    x: float
    y: float
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    text: str = ""


@dataclass(frozen=True)
class Series:
    """Points that a line joins."""

    name: str
    points: Sequence[Point]
    marked: bool = True


@dataclass(frozen=True)
class Mark:
    """A point in pixels, with the ends of its intervals."""

    x: float
    y: float
    colour: int
    text: str
    across: tuple[float, float] | None = None
    up: tuple[float, float] | None = None


@dataclass(frozen=True)
class Picture:
    """All shapes of a picture, in pixels from the upper left.

    Attributes
    ----------
    title, x_name, y_name : in words.
    left, top, right, bottom : of the frame that the values are in.
    lines : pairs of a colour and "x,y x,y …".
    numbers : labels such as "0" and "2, 3", if marks are numbered.
    guide : height of a level to compare with.
    legend : names of the series, in the order of their colours; empty for a single series.
    left_out : points that aren't finite.
    """

    title: str
    x_name: str
    y_name: str
    width: float
    height: float
    left: float
    top: float
    right: float
    bottom: float
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    lines: Sequence[tuple[int, str]]
    marks: Sequence[Mark]
    numbers: Sequence[tuple[float, float, str]] = ()
    guide: float | None = None
    legend: Sequence[str] = field(default_factory=tuple)
    left_out: int = 0


@dataclass(frozen=True)
class Frame:
    """The layout of a picture.

    Attributes
    ----------
    width, height : in pixels.
    y_values : more values that the vertical axis has to cover.
    numbered : whether marks get the numbers of their points.
    logarithmic : whether the vertical axis may be logarithmic.
    guide : a level to compare with.
    """

    width: float = 420
    height: float = 260
    y_values: Sequence[float] = ()
    numbered: bool = False
    logarithmic: bool = False
    guide: float | None = None


def draw(
    title: str,
    series: Sequence[Series],
    *,
    x_name: str,
    y_name: str,
    frame: Frame,
) -> Picture:
    """Lay out a picture of some series; points that aren't finite break their line."""
    left, top, right, bottom = 58.0, 26.0, frame.width - 14, frame.height - 40
    points = [point for one in series for point in one.points]
    fine = [point for point in points if _finite(point)]
    guide = [frame.guide] if frame.guide is not None else []
    x_axis = axis_over(
        _spread((p.x, p.x_range) for p in fine),
        start=left,
        end=right,
        whole=all(float(p.x).is_integer() for p in fine),
    )
    y_axis = axis_over(
        [*_spread((p.y, p.y_range) for p in fine), *guide, *filter(math.isfinite, frame.y_values)],
        start=bottom,
        end=top,
        logarithmic=frame.logarithmic,
    )
    marks = [
        _mark(point, x_axis, y_axis, colour % COLOURS)
        for colour, one in enumerate(series)
        if one.marked
        for point in one.points
        if _finite(point)
    ]
    return Picture(
        title=title,
        x_name=x_name,
        y_name=y_name,
        width=frame.width,
        height=frame.height,
        left=left,
        top=top,
        right=right,
        bottom=bottom,
        x_ticks=x_axis.ticks(most=max(3, int((right - left) / 60))),
        y_ticks=y_axis.ticks(most=max(2, int((bottom - top) / 36))),
        lines=[
            (colour % COLOURS, line)
            for colour, one in enumerate(series)
            for line in _lines(one.points, x_axis, y_axis)
        ],
        marks=marks,
        numbers=_numbers(points, marks) if frame.numbered else (),
        guide=None if frame.guide is None else y_axis.place(frame.guide),
        legend=[one.name for one in series] if len(series) > 1 else [],
        left_out=len(points) - len(fine),
    )


def _finite(point: Point) -> bool:
    return math.isfinite(point.x) and math.isfinite(point.y)


def _spread(values: Iterable[tuple[float, tuple[float, float] | None]]) -> list[float]:
    """Return values and the ends of their intervals."""
    found = [end for value, interval in values for end in (value, *(interval or ()))]
    return [value for value in found if math.isfinite(value)]


def _mark(point: Point, x_axis: Axis, y_axis: Axis, colour: int) -> Mark:
    def ends(axis: Axis, interval: tuple[float, float] | None) -> tuple[float, float] | None:
        if interval is None or not all(map(math.isfinite, interval)):
            return None
        return axis.place(interval[0]), axis.place(interval[1])

    return Mark(
        x_axis.place(point.x),
        y_axis.place(point.y),
        colour,
        point.text,
        across=ends(x_axis, point.x_range),
        up=ends(y_axis, point.y_range),
    )


def _lines(points: Sequence[Point], x_axis: Axis, y_axis: Axis) -> list[str]:
    pieces: list[list[str]] = [[]]
    for point in points:
        if _finite(point):
            pieces[-1].append(f"{x_axis.place(point.x):.1f},{y_axis.place(point.y):.1f}")
        elif pieces[-1]:
            pieces.append([])
    return [" ".join(piece) for piece in pieces if len(piece) > 1]


def _numbers(points: Sequence[Point], marks: Sequence[Mark]) -> list[tuple[float, float, str]]:
    """Return (x, y, label) with each point's number; near marks share a label."""
    places = [place for place, point in enumerate(points) if _finite(point)]
    groups: list[tuple[float, float, list[int]]] = []
    for place, mark in zip(places, marks, strict=True):
        near = (members for x, y, members in groups if math.hypot(x - mark.x, y - mark.y) < _NEAR)
        members = next(near, None)
        if members is None:
            groups.append((mark.x, mark.y, [place]))
        else:
            members.append(place)
    return [(x, y, ", ".join(map(str, members))) for x, y, members in groups]
