"""Draws the course of trainings, and the sensitivity of groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from compress.report.kept.insides import GroupCurve, Sensitivity, Training
from compress.report.pictures.layout import Frame, Picture, Point, Series, draw


class PictureGroup(NamedTuple):
    """Some pictures under one heading."""

    title: str
    pictures: Sequence[Picture]


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
