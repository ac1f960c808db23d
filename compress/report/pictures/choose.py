"""Draws the pictures of a report: quality against speed and size, trainings, and sensitivity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from compress.report import words
from compress.report.document import Report, Row
from compress.report.kept.insides import GroupCurve, Sensitivity, Training
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


def training(found: Training) -> list[Picture]:
    """Return pictures of a training's losses by step, and of its validation by epoch."""
    names = list(dict.fromkeys(name for point in found.curve for name in point.losses))
    losses = [
        Series(
            name,
            [Point(p.step, _number(p.losses[name])) for p in found.curve if name in p.losses],
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
    metric = found.epochs[0].metric if found.epochs else "loss"
    for name in dict.fromkeys([metric, "loss"]):
        points = [
            Point(each.epoch, value, text=f"epoch {each.epoch}: {name} {value:.4g}")
            for each in found.epochs
            if name in each.figures
            for value in [_number(each.figures[name])]
        ]
        if points or not found.epochs:
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


def sensitivity(found: Sensitivity) -> list[PictureGroup]:
    """Return pictures of quality against the fraction removed, one for each group.

    All pictures of a kind of group have one scale.
    """
    kinds: dict[str, list[GroupCurve]] = {}
    for group in found.groups:
        kinds.setdefault(group.kind, []).append(group)
    parts = []
    for kind, groups in kinds.items():
        every = [_number(value) for group in groups for value in group.quality]
        frame = Frame(width=250, height=180, y_values=every, guide=found.baseline)
        pictures = [_sensitivity(group, metric=found.metric, frame=frame) for group in groups]
        title = f"{kind}: {found.metric} against the fraction removed of one group"
        samples = f"on {found.samples} samples; dashed: nothing removed"
        parts.append(PictureGroup(f"{title}, {samples}", pictures))
    return parts


def _sensitivity(group: GroupCurve, *, metric: str, frame: Frame) -> Picture:
    points = [
        Point(
            ratio,
            _number(value),
            text=f"{ratio:g} removed: {metric} {_number(value):.4g}, divergence {_number(far):.3g}",
        )
        for ratio, value, far in zip(group.ratios, group.quality, group.divergence, strict=True)
    ]
    return draw(
        f"{group.name} ({group.units})",
        [Series(metric, points)],
        x_name="removed",
        y_name=metric,
        frame=frame,
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
