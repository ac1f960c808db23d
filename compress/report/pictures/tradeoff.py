"""Draws quality against latency and size, with the Pareto front of all models of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compress.report import words
from compress.report.pictures.layout import Frame, Picture, Point, Series, draw

if TYPE_CHECKING:
    from compress.measurement.results import Latency, Quality
    from compress.report.document import Report

_LEAST, _MOST = 4.0, 11.0
"""Radii of the marks of the smallest and the largest model, in pixels."""


@dataclass(frozen=True)
class Model:
    """A model of the run: a row, a candidate that wasn't chosen, or the baseline."""

    kind: str
    name: str
    quality: Quality
    size_bytes: int
    call_ms: dict[str, float]


Cost = Callable[[Model], float | None]


def models(report: Report) -> list[Model]:
    """Return the reference and all later rows, candidates that weren't chosen, and the baseline.

    A candidate counts only if the rows' metric was measured of it. The float model of a stage's
    candidates is the row before, and isn't named again.
    """
    rows = report.stages[report.reference :]
    found = [
        _of("stages", words.stage(row), row.quality, row.size_bytes, row.latency_ms) for row in rows
    ]
    found += [
        _of(
            "candidates",
            f"{row.name}: {each.name}",
            each.quality,
            each.size_bytes,
            dict(each.latency_ms),
        )
        for row in rows
        for each in row.candidates
        if not each.chosen
        and each.name != "float"
        and each.quality.metric == rows[0].quality.metric
    ]
    baseline = report.baseline
    if baseline is not None:
        found.append(
            Model(
                "baseline",
                baseline.name,
                baseline.quality,
                baseline.size_bytes,
                {"1": baseline.call_ms},
            )
        )
    return found


def _of(
    kind: str, name: str, quality: Quality, size_bytes: int, latency: dict[str, Latency]
) -> Model:
    return Model(kind, name, quality, size_bytes, {load: x.p50 for load, x in latency.items()})


def front(points: Sequence[tuple[float, float]], *, higher_is_better: bool = True) -> list[int]:
    """Return the places of the points that no other beats, by their costs.

    Parameters
    ----------
    points : (cost, quality) pairs; less cost is better.
    """
    sign = 1 if higher_is_better else -1
    found: list[int] = []
    best = -math.inf
    for place in sorted(range(len(points)), key=lambda i: (points[i][0], -sign * points[i][1])):
        if sign * points[place][1] > best:
            best = sign * points[place][1]
            found.append(place)
    return found


def tradeoffs(report: Report) -> list[Picture]:
    """Return pictures of quality against the latency of each batch size, and against size."""
    found = models(report)
    if sum(model.kind == "stages" for model in found) < 2:
        return []
    pictures = [
        _picture(
            f"{words.metric(report)} against time of a call at batch {batch}",
            found,
            cost=lambda model, batch=batch: model.call_ms.get(batch),  # type: ignore[misc]
            x_name="milliseconds (less is better)",
        )
        for batch in words.batch_sizes(report)
    ]
    title = f"{words.metric(report)} against size"
    x_name = "megabytes (less is better)"
    return [*pictures, _picture(title, found, cost=_megabytes, x_name=x_name)]


def _megabytes(model: Model) -> float:
    return model.size_bytes / 1e6


def _picture(title: str, found: Sequence[Model], *, cost: Cost, x_name: str) -> Picture:
    known = [(model, value) for model in found if (value := cost(model)) is not None]
    first = known[0][0].quality
    less = "" if first.higher_is_better else " (less is better)"
    largest = max(model.size_bytes for model, _ in known)
    points = [_point(model, value, largest) for model, value in known]
    on_front = [
        points[place]
        for place in front(
            [(point.x, point.y) for point in points], higher_is_better=first.higher_is_better
        )
    ]
    kinds = list(dict.fromkeys(model.kind for model, _ in known))
    series = [
        Series(
            kind,
            [p for p, (model, _) in zip(points, known, strict=True) if model.kind == kind],
            joined=False,
            shape={"candidates": "ring", "baseline": "square"}.get(kind, "dot"),  # type: ignore[arg-type]
        )
        for kind in kinds
    ]
    series.append(Series("Pareto front", _steps(on_front), marked=False, dashed=True))
    frame = Frame(height=280, logarithmic_x=True)
    return draw(title, series, x_name=x_name, y_name=f"{first.metric}{less}", frame=frame)


def _point(model: Model, cost: float, largest: int) -> Point:
    share = math.sqrt(model.size_bytes / largest) if largest else 0.0
    speeds = [f"{value:.3g} ms at batch {load}" for load, value in model.call_ms.items()]
    where = " on validation samples" if model.kind == "candidates" else ""
    said = f"{model.name}: {model.quality.metric} {words.quality(model.quality)}{where}"
    return Point(
        cost,
        model.quality.value,
        y_range=None if model.kind == "candidates" else model.quality.ci95,
        text=", ".join([said, words.size(model.size_bytes), *speeds]),
        label="" if model.kind == "candidates" else model.name,
        radius=_LEAST + (_MOST - _LEAST) * share,
    )


def _steps(points: Sequence[Point]) -> list[Point]:
    """Return the corners of the line below which no model on the front lies."""
    corners: list[Point] = []
    for point in points:
        if corners:
            corners.append(Point(point.x, corners[-1].y))
        corners.append(point)
    return corners
