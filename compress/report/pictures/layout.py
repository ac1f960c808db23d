"""Pictures of measured values, laid out for the template that writes them as SVG.

They are drawn here rather than by a script in the page. So a report stays small and looks the same
everywhere, even if scripts are forbidden.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from compress.report.pictures.axes import Axis, Tick, axis_over

COLOURS = 8
"""Number of colours in the template; further series use them again."""
_NEAR = 15.0
"""Distance in pixels within which two marks share a label."""

_LETTER, _LINE = 6.6, 14.0
"""Width of a letter and height of a line of a label, in pixels."""

Shape = Literal["dot", "ring", "square"]
"""Shape of a mark."""


@dataclass(frozen=True)
class Point:
    """A measured value.

    Attributes
    ----------
    x, y : its coordinates.
    x_range, y_range : its intervals.
    text : shown when the pointer is on it, and read aloud.
    label : written beside it.
    radius : of its mark, in pixels.
    """

    x: float
    y: float
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    text: str = ""
    label: str = ""
    radius: float = 4


@dataclass(frozen=True)
class Series:
    """Points of one kind.

    Attributes
    ----------
    marked : whether each has a mark.
    joined : whether a line joins them.
    dashed : whether that line is dashed.
    shape : of the marks.
    """

    name: str
    points: Sequence[Point]
    marked: bool = True
    joined: bool = True
    dashed: bool = False
    shape: Shape = "dot"


@dataclass(frozen=True)
class Mark:
    """A point in pixels, with the ends of its intervals."""

    x: float
    y: float
    colour: int
    text: str
    label: str = ""
    radius: float = 4
    shape: Shape = "dot"
    across: tuple[float, float] | None = None
    up: tuple[float, float] | None = None


@dataclass(frozen=True)
class Picture:
    """All shapes of a picture, in pixels from the upper left.

    Attributes
    ----------
    title, x_name, y_name : in words.
    left, top, right, bottom : of the frame that the values are in.
    lines : a colour, whether it is dashed, and "x,y x,y …".
    labels : place, whether it ends there, and text of each label; near marks share one.
    guide : height of a level to compare with.
    legend : names and shapes of the series, in the order of their colours; empty for a single one.
    left_out : points that aren't finite.
    said : the picture in words.
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
    lines: Sequence[tuple[int, bool, str]]
    marks: Sequence[Mark]
    labels: Sequence[tuple[float, float, bool, str]] = ()
    guide: float | None = None
    legend: Sequence[tuple[str, Shape | Literal["line"]]] = field(default_factory=tuple)
    left_out: int = 0
    said: str = ""


@dataclass(frozen=True)
class Frame:
    """The layout of a picture.

    Attributes
    ----------
    width, height : in pixels.
    y_values : more values that the vertical axis has to cover.
    logarithmic, logarithmic_x : whether the vertical or the horizontal axis may be logarithmic.
    guide : a level to compare with.
    """

    width: float = 360
    height: float = 250
    y_values: Sequence[float] = ()
    logarithmic: bool = False
    logarithmic_x: bool = False
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
    left, top, right, bottom = 56.0, 26.0, frame.width - 14, frame.height - 42
    points = [point for one in series for point in one.points]
    fine = [point for point in points if _finite(point)]
    guide = [frame.guide] if frame.guide is not None else []
    x_axis = axis_over(
        _spread((p.x, p.x_range) for p in fine),
        start=left,
        end=right,
        logarithmic=frame.logarithmic_x,
        whole=all(float(p.x).is_integer() for p in fine),
    )
    y_axis = axis_over(
        [*_spread((p.y, p.y_range) for p in fine), *guide, *filter(math.isfinite, frame.y_values)],
        start=bottom,
        end=top,
        logarithmic=frame.logarithmic,
    )
    marks = [
        _mark(point, x_axis, y_axis, colour % COLOURS, one.shape)
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
            (colour % COLOURS, one.dashed, line)
            for colour, one in enumerate(series)
            if one.joined
            for line in _lines(one.points, x_axis, y_axis)
        ],
        marks=marks,
        labels=_labels(marks, right=right),
        guide=None if frame.guide is None else y_axis.place(frame.guide),
        legend=[(one.name, one.shape if one.marked else "line") for one in series]
        if len(series) > 1
        else [],
        left_out=len(points) - len(fine),
        said=f"{title}. {' '.join(_said(one) for one in series)}",
    )


def _finite(point: Point) -> bool:
    return math.isfinite(point.x) and math.isfinite(point.y)


def _spread(values: Iterable[tuple[float, tuple[float, float] | None]]) -> list[float]:
    """Return values and the ends of their intervals."""
    found = [end for value, interval in values for end in (value, *(interval or ()))]
    return [value for value in found if math.isfinite(value)]


def _said(series: Series) -> str:
    """Return a series in words: where it begins and ends."""
    fine = [point for point in series.points if _finite(point)]
    if not fine:
        return f"{series.name}: no values."
    if not series.joined:
        return f"{series.name}: {len(fine)}."
    first, last = fine[0], fine[-1]
    return f"{series.name}: from {first.y:.4g} at {first.x:.4g} to {last.y:.4g} at {last.x:.4g}."


def _mark(point: Point, x_axis: Axis, y_axis: Axis, colour: int, shape: Shape) -> Mark:
    def ends(axis: Axis, interval: tuple[float, float] | None) -> tuple[float, float] | None:
        if interval is None or not all(map(math.isfinite, interval)):
            return None
        return axis.place(interval[0]), axis.place(interval[1])

    return Mark(
        x_axis.place(point.x),
        y_axis.place(point.y),
        colour,
        point.text,
        label=point.label,
        radius=point.radius,
        shape=shape,
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


def _labels(marks: Sequence[Mark], *, right: float) -> list[tuple[float, float, bool, str]]:
    """Return (x, y, whether it ends at x, label) of each mark that has one.

    Near marks share a label; one that would cover another is put higher or lower.
    """
    groups: list[tuple[Mark, list[str]]] = []
    for mark in marks:
        if not mark.label:
            continue
        near = (
            names
            for other, names in groups
            if math.hypot(other.x - mark.x, other.y - mark.y) < _NEAR
        )
        names = next(near, None)
        if names is None:
            groups.append((mark, [mark.label]))
        else:
            names.append(mark.label)
    placed: list[tuple[float, float, bool, str]] = []
    taken: list[tuple[float, float, float]] = []
    for mark, names in groups:
        text = ", ".join(names)
        width = _LETTER * len(text)
        ends = mark.x + 8 + width > right
        left = mark.x - 8 - width if ends else mark.x + 8
        above, below = mark.y - mark.radius - 3, mark.y + mark.radius + 13
        free = (
            y
            for y in (above, below, above - _LINE, below + _LINE, above - 2 * _LINE)
            if not any(
                abs(y - o) < _LINE and left < end and start < left + width
                for start, end, o in taken
            )
        )
        y = next(free, below + 2 * _LINE)
        taken.append((left, left + width, y))
        placed.append((mark.x - 8 if ends else mark.x + 8, y, ends, text))
    return placed
