"""Tells on which classes and on which samples the final model answers otherwise."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from compress.core.batch import IGNORED
from compress.report.kept.answers import Confusion, Disagreement, Disagreements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from compress.core.context import Context, Raw
    from compress.measurement.paired.kept import KeptAnswers

    Integers = NDArray[np.integer[Any]]

MOST_CLASSES = 12
"""Number of classes in a matrix."""
_LONGEST = 400
"""Characters of a text."""
_PIXELS = (96, 96)
"""Largest width and height of an image."""


def changed_answers(
    reference: KeptAnswers, final: KeptAnswers, *, context: Context, samples: int
) -> dict[str, Any]:
    """Return the report's `confusion` and `disagreements`, where the task has classes.

    Parameters
    ----------
    samples : most samples that are shown.

    Raises
    ------
    DataError : a sample can't be read.
    """
    said, wanted = final.predicted, reference.predicted
    if said is None or wanted is None or said.shape != wanted.shape:
        return {}
    if final.classes != reference.classes:
        return {}
    found: dict[str, Any] = {}
    if said.ndim == 1 and final.labels is not None and final.classes:
        found["confusion"] = _confusion(final.labels, wanted, said, final.classes)
    if context.task.target in ("class", "class-set"):
        found["disagreements"] = _disagreements(reference, final, context, samples)
    return found


def _confusion(
    labels: Integers, reference: Integers, final: Integers, classes: tuple[str, ...]
) -> Confusion:
    known = labels != IGNORED
    count = len(classes)
    before, after = (
        np.bincount(labels[known] * count + said[known], minlength=count * count).reshape(
            count, count
        )
        for said in (reference, final)
    )
    changes = np.abs(np.diag(after) - np.diag(before)) / np.maximum(before.sum(1), 1)
    kept = np.sort(np.argsort(-changes, kind="stable")[:MOST_CLASSES])
    others = np.setdiff1d(np.arange(count), kept)

    def rows(counts: Integers) -> list[list[int]]:
        return [
            [*map(int, counts[row, kept]), int(counts[row, others].sum())] for row in kept.tolist()
        ]

    return Confusion(
        classes=[classes[place] for place in kept.tolist()],
        of=count,
        reference=rows(before),
        final=rows(after),
    )


def _disagreements(
    reference: KeptAnswers, final: KeptAnswers, context: Context, samples: int
) -> Disagreements | None:
    said, wanted, labels = final.predicted, reference.predicted, final.labels
    if said is None or wanted is None:
        return None
    of_sets = said.ndim == 2
    differs = (said != wanted).any(1) if of_sets else said != wanted
    places = np.flatnonzero(differs)
    if labels is not None:
        wrong = (said != labels).any(1) if of_sets else said != labels
        right = ~((wanted != labels).any(1)) if of_sets else wanted == labels
        # What was lost comes first, then what is still wrong, then what was gained.
        rank = np.where(wrong & right, 0, np.where(wrong, 1, 2))
        places = places[np.argsort(rank[places], kind="stable")]
    shown = places[:samples].tolist()
    raw = context.data.raw("test", limit=len(shown), places=shown) if shown else None

    def name(found: Integers) -> str:
        if of_sets:
            return ", ".join(final.classes[n] for n in np.flatnonzero(found == 1)) or "none"
        return final.classes[int(found)] if final.classes else str(int(found))

    def label(place: int) -> str | None:
        if labels is None or np.min(labels[place]) < 0:
            return None
        return name(labels[place])

    return Disagreements(
        count=len(places),
        of=len(said),
        shown=[
            Disagreement(
                place=place,
                label=label(place),
                reference=name(wanted[place]),
                final=name(said[place]),
                **({} if raw is None else _content(raw, number)),
            )
            for number, place in enumerate(shown)
        ],
    )


def _content(raw: Raw, number: int) -> dict[str, str]:
    """Return the sample as a text or as an image; nothing for arrays."""
    value = raw.values[number]
    if raw.kind == "image":
        return {"image": _thumbnail(value)}
    if raw.kind in ("text", "prompt"):
        return {"text": _cut(str(value))}
    if raw.kind == "words":
        return {"text": _cut(" ".join(map(str, value)))}
    if raw.kind == "pair":
        return {"text": "\n".join(_cut(str(part)) for part in value)}
    return {}


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} …"


def _thumbnail(file: bytes) -> str:
    with Image.open(io.BytesIO(file)) as opened:
        image = opened.convert("L" if opened.mode in ("1", "L", "LA") else "RGB")
    image.thumbnail(_PIXELS)
    written = io.BytesIO()
    image.save(written, format="PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()
