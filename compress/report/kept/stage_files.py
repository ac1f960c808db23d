"""Reads what stages left in their folders: the course of a training, sensitivity, noise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from compress.core.foreign.boundary import described, reading
from compress.core.notes import careful
from compress.errors import InputError
from compress.report.kept.insides import (
    EpochScore,
    GroupCurve,
    LossPoint,
    Sensitivity,
    Training,
)

TRAINING, SENSITIVITY, NOISE = "training.json", "sensitivity.json", "noise.json"
_SCHEMAS = {TRAINING: 2, SENSITIVITY: 1, NOISE: 1}


def read_insides(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a `Row` that a stage's files tell, and a note on each unreadable file.

    Parameters
    ----------
    folder : the folder of a finished stage.
    """
    read: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {
        "training": (TRAINING, _training),
        "sensitivity": (SENSITIVITY, _sensitivity),
        "noise": (NOISE, _noise),
    }
    found: dict[str, Any] = {}
    notes = []
    for name, (file, made) in read.items():
        path = folder / file
        if not path.is_file():
            continue
        try:
            with reading(path):
                found[name] = made(_document(path))
        except InputError as error:
            said = described(error.__cause__ or error)
            notes.append(careful(f"{file} isn't shown, as it can't be read: {said}"))
    return found, notes


def _document(path: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document["schema"] != _SCHEMAS[path.name]:
        raise ValueError(f"of schema {document['schema']}, not {_SCHEMAS[path.name]}")
    return document


def _training(document: Mapping[str, Any]) -> Training:
    return Training(
        curve=[
            LossPoint(step=point["step"], losses=point["losses"]) for point in document["curve"]
        ],
        epochs=[
            EpochScore(
                epoch=epoch["epoch"],
                metric=epoch["validation"]["metric"],
                figures=epoch["validation"]["figures"],
            )
            for epoch in document["epochs"]
        ],
    )


def _sensitivity(document: Mapping[str, Any]) -> Sensitivity:
    return Sensitivity(
        metric=document["metric"],
        baseline=document["baseline"],
        samples=document["samples"],
        groups=[
            GroupCurve(
                name=group["name"],
                kind=group["kind"],
                units=group["units"],
                ratios=group["ratios"],
                quality=group["quality"],
                divergence=group["divergence"],
            )
            for group in document["groups"]
        ],
    )


def _noise(document: Mapping[str, Any]) -> dict[str, float | None]:
    return {str(name): value for name, value in document["decibels"].items()}
