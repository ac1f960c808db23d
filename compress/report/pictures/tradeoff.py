"""Draws quality against latency and size, with the Pareto front of all models of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from compress.report import words
from compress.report.pictures.layout import Frame, Picture, Point, Series, draw

if TYPE_CHECKING:
    from compress.measurement.results import Quality
    from compress.report.document import Report, Row

_CANDIDATES, _FLOAT = "candidates", "float"
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

    A candidate counts only if the rows' metric was measured of it. It was measured on other samples
    and in other rounds, so it stands beside the row that its stage was given, by its loss and its
    speedup. The float model of a stage's candidates is that row, and isn't named again.
    """
    rows = report.stages[report.reference :]
    found = [_of_row(row) for row in rows]
    given = None
    for row in rows:
        if given is not None:
            found += _candidates(row, given)
        given = given if row.left_aside else row
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


def _of_row(row: Row) -> Model:
    kind = words.LEFT_ASIDE if row.left_aside else "stages"
    calls = {load: latency.p50 for load, latency in row.latency_ms.items()}
    return Model(kind, row.name, row.quality, row.size_bytes, calls)


def _candidates(row: Row, given: Row) -> list[Model]:
    """Return the candidates of a stage that it didn't choose, beside the row that it was given."""
    return [
        Model(
            _CANDIDATES,
            f"{row.name}: {each.name}",
            _less(given.quality, each.loss),
            each.size_bytes,
            {
                load: latency.p50 / each.speedup[load].vs_original
                for load, latency in given.latency_ms.items()
                if load in each.speedup
            },
        )
        for each in row.candidates
        if not each.chosen and each.name != _FLOAT and each.quality.metric == given.quality.metric
    ]


def _less(quality: Quality, loss: float) -> Quality:
    """Return a quality after a loss: a difference, or a share of what is better the lower it is."""
    value = quality.value - loss if quality.higher_is_better else quality.value * (1 + loss)
    return replace(quality, value=value)


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
            shape={_CANDIDATES: "ring", words.LEFT_ASIDE: "ring", "baseline": "square"}.get(
                kind, "dot"
            ),  # type: ignore[arg-type]
        )
        for kind in kinds
    ]
    series.append(Series("Pareto front", _steps(on_front), marked=False, dashed=True))
    frame = Frame(height=280, logarithmic_x=True)
    return draw(title, series, x_name=x_name, y_name=f"{first.metric}{less}", frame=frame)


def _point(model: Model, cost: float, largest: int) -> Point:
    share = math.sqrt(model.size_bytes / largest) if largest else 0.0
    speeds = [f"{value:.3g} ms at batch {load}" for load, value in model.call_ms.items()]
    metric, quality = model.quality.metric, words.quality(model.quality)
    said = f"{model.name}: {metric} {quality}"
    if model.kind == _CANDIDATES:
        said = (
            f"{model.name}: {metric} {words.value(model.quality)} by its loss on validation samples"
        )
    elif model.kind == words.LEFT_ASIDE:
        said = f"{model.name} ({model.kind}): {metric} {quality}"
    return Point(
        cost,
        model.quality.value,
        y_range=None if model.kind == _CANDIDATES else model.quality.ci95,
        text=", ".join([said, words.size(model.size_bytes), *speeds]),
        label="" if model.kind == _CANDIDATES else model.name,
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
