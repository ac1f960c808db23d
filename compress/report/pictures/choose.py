"""Draws the pictures of a report: quality against speed and size, trainings, and sensitivity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from compress.report import words
from compress.report.document import Report, Row
from compress.report.pictures.layout import Frame, Picture, Point, Series, draw

_AGAIN = 1.0
"""The reference's ratio to itself."""


class PictureGroup(NamedTuple):
    """Some pictures under one heading."""

    title: str
    pictures: Sequence[Picture]


def tradeoffs(report: Report) -> list[Picture]:
    """Return pictures of quality against speedup and size, for the reference and later rows."""
    rows = report.stages[report.reference :]
    if len(rows) < 2:
        return []
    reference = rows[0]
    pictures = [
        _tradeoff(
            f"{words.metric(report)} against speedup at batch {batch}",
            [_fast(row, batch, row is reference) for row in rows if batch in row.speedup],
            x_name=f"times as fast as {reference.name}",
            reference=reference,
        )
        for batch in words.batch_sizes(report)
    ]
    smaller = [
        _point(row, reference.size_bytes / row.size_bytes, None, words.size(row.size_bytes))
        for row in rows
    ]
    title = f"{words.metric(report)} against size"
    x_name = f"times smaller than {reference.name}"
    return [*pictures, _tradeoff(title, smaller, x_name=x_name, reference=reference)]


def _tradeoff(title: str, points: Sequence[Point], *, x_name: str, reference: Row) -> Picture:
    found = reference.quality
    less = "" if found.higher_is_better else " (less is better)"
    return draw(
        title,
        [Series(found.metric, points)],
        x_name=x_name,
        y_name=f"{found.metric}{less}",
        frame=Frame(numbered=True, guide=found.value),
    )


def _fast(row: Row, batch: str, is_reference: bool) -> Point:
    found = row.speedup[batch]
    if is_reference:
        return _point(row, _AGAIN, None, words.times(_AGAIN))
    return _point(row, found.vs_original, found.ci95, words.speedup(found))


def _point(row: Row, x: float, x_range: tuple[float, float] | None, said: str) -> Point:
    text = f"{row.name}: {row.quality.metric} {words.quality(row.quality)}, {said}"
    return Point(x, row.quality.value, x_range, row.quality.ci95, text)


def training(document: Mapping[str, Any]) -> list[Picture]:
    """Return pictures of a training's losses by step, and of its validation by epoch.

    Parameters
    ----------
    document : a `training.json` of schema 2.
    """
    curve, epochs = document["curve"], document["epochs"]
    names = list(dict.fromkeys(name for point in curve for name in point["losses"]))
    losses = [
        Series(
            name,
            [Point(p["step"], p["losses"][name]) for p in curve if name in p["losses"]],
            marked=False,
        )
        for name in names
    ]
    pictures = [
        draw(
            "training loss, weighted parts",
            losses,
            x_name="step",
            y_name="loss",
            frame=Frame(logarithmic=True),
        )
    ]
    metric = epochs[0]["validation"]["metric"] if epochs else "loss"
    for name in dict.fromkeys([metric, "loss"]):
        points = [
            Point(
                epoch["epoch"],
                epoch["validation"]["figures"][name],
                text=f"epoch {epoch['epoch']}: {name} {epoch['validation']['figures'][name]:.4g}",
            )
            for epoch in epochs
            if name in epoch["validation"]["figures"]
        ]
        if points or not epochs:
            pictures.append(
                draw(
                    f"validation {name}",
                    [Series(name, points)],
                    x_name="epoch",
                    y_name=name,
                    frame=Frame(),
                )
            )
    return pictures


def sensitivity(document: Mapping[str, Any]) -> list[PictureGroup]:
    """Return pictures of quality against the fraction removed, one for each group.

    All pictures of a kind of group have one scale.

    Parameters
    ----------
    document : a `sensitivity.json` of schema 1.
    """
    metric, baseline = str(document["metric"]), float(document["baseline"])
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for group in document["groups"]:
        kinds.setdefault(str(group["kind"]), []).append(group)
    parts = []
    for kind, groups in kinds.items():
        every = [float(value) for group in groups for value in group["quality"]]
        frame = Frame(width=250, height=180, y_values=every, guide=baseline)
        pictures = [_sensitivity(group, metric=metric, frame=frame) for group in groups]
        title = f"{kind}: {metric} against the fraction removed of one group"
        samples = f"on {document['samples']} samples; dashed: nothing removed"
        parts.append(PictureGroup(f"{title}, {samples}", pictures))
    return parts


def _sensitivity(group: Mapping[str, Any], *, metric: str, frame: Frame) -> Picture:
    triples = zip(group["ratios"], group["quality"], group["divergence"], strict=True)
    points = [
        Point(ratio, value, text=f"{ratio:g} removed: {metric} {value:.4g}, divergence {far:.3g}")
        for ratio, value, far in triples
    ]
    return draw(
        f"{group['name']} ({group['units']})",
        [Series(metric, points)],
        x_name="removed",
        y_name=metric,
        frame=frame,
    )
