"""Average precision of boxes, the metric of object detection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from compress.core.batch import IGNORED
from compress.errors import StageError
from compress.tasks.contract import TaskMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Arrays = Mapping[str, Array]
    Floats = NDArray[np.float64]

COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""COCO's ten least overlaps of a box that was found: 0.5, 0.55, …, 0.95."""
MOST_BOXES = 100
"""Boxes of one class in one image that count, those of the highest scores; COCO's number."""
_RECALLS = np.linspace(0, 1, 101)
_ALMOST = 1e-10


class Boxes(NamedTuple):
    """Boxes of M images, B in each.

    Attributes
    ----------
    corners : left, top, right and bottom of each box (M, B, 4), in any unit.
    classes : class of each, from 0 (M, B); -100 where there is no box.
    scores : how sure a model is of each (M, B); None for labels.
    """

    corners: Array
    classes: Array
    scores: Array | None = None


class _Columns(NamedTuple):
    """The numbers of an image: for each box class, score, and hits by threshold; then labels."""

    classes: Array
    scores: Array
    hits: Array
    labelled: Array


def box_average_precision(
    found: Callable[[Arrays], Boxes],
    wanted: Callable[[Arrays], Boxes],
    *,
    classes: int,
    thresholds: Sequence[float] = COCO_THRESHOLDS,
    name: str = "map",
) -> TaskMetric:
    """Return COCO's mean average precision (mAP) of boxes.

    A box is right if it overlaps with a labelled one of its class that no box of a higher score
    has, by at least the threshold (intersection over union). A class's precision is interpolated
    at 101 values of recall, and its mean taken; then the mean over classes with labels and over
    thresholds (Lin et al., "Microsoft COCO: Common Objects in Context", 2014). There are no crowds
    and no areas: these are the figures that pycocotools calls "area=all". Its interval takes 200
    resamples of images, each of which orders all boxes anew.

    Parameters
    ----------
    found : a function from a batch's outputs, arrays by name, to boxes with scores. What a model
        answers twice is to be left out there (non-maximum suppression). The number of boxes in an
        image, B, must be the same in every batch.
    wanted : a function from a batch's labels, arrays by name, to boxes.
    classes : number of classes.
    thresholds : least overlaps; (0.5,) gives AP50.
    name : name of the metric.
    """
    levels = np.minimum(np.array(thresholds, np.float64), 1 - _ALMOST)

    def rows(outputs: Arrays, labels: Arrays) -> Floats:
        ours, theirs = found(outputs), wanted(labels)
        _require_boxes(ours, theirs, classes)
        numbers = [_judged(*one, levels, classes) for one in _images(ours, theirs)]
        return np.stack(numbers)

    def of_rows(numbers: Floats) -> float:
        return _mean_precision(_columns(numbers, len(levels), classes))

    return TaskMetric(name, rows=rows, of_rows=of_rows)


def overlaps(one: Array, other: Array) -> Floats:
    """Return the intersection over union (A, B) of boxes (A, 4) and (B, 4)."""
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (one, other)]
    either = areas[0][:, None] + areas[1][None] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))


def _require_boxes(found: Boxes, wanted: Boxes, classes: int) -> None:
    if found.scores is None:
        raise StageError("boxes that a model finds need scores. Got none.")
    for what, boxes in (("found", found), ("labelled", wanted)):
        shape = boxes.classes.shape
        scored = boxes.scores is None or boxes.scores.shape == shape
        if len(shape) != 2 or boxes.corners.shape != (*shape, 4) or not scored:
            raise StageError(
                f"{what} boxes must have corners (images, boxes, 4), and classes and scores "
                f"(images, boxes). Got corners {boxes.corners.shape} and classes {shape}."
            )
        there = boxes.classes[boxes.classes != IGNORED]
        if ((there < 0) | (there >= classes)).any():
            raise StageError(
                f"classes of {what} boxes must be from 0 to {classes - 1}, or {IGNORED} for none. "
                f"Got {there.min()} to {there.max()}."
            )
        if (boxes.corners[..., 2:] < boxes.corners[..., :2])[boxes.classes != IGNORED].any():
            raise StageError(
                f"corners of {what} boxes must be left, top, right and bottom. Got a box whose "
                "right is left of its left, or whose bottom is above its top."
            )


def _images(found: Boxes, wanted: Boxes) -> Iterator[tuple[Boxes, Boxes]]:
    for at in range(len(found.classes)):
        scores = None if found.scores is None else found.scores[at]
        ours = Boxes(found.corners[at], found.classes[at], scores)
        yield ours, Boxes(wanted.corners[at], wanted.classes[at])


def _judged(found: Boxes, wanted: Boxes, levels: Floats, classes: int) -> Floats:
    """Return an image's numbers, see `_Columns`; its boxes are ordered by their scores."""
    scores = np.zeros(0) if found.scores is None else np.asarray(found.scores, np.float64)
    order = np.argsort(-scores, kind="stable")
    kinds, scores = _most_of_each(found.classes[order]), scores[order]
    there = wanted.classes != IGNORED
    goals = wanted.classes[there]
    shared = overlaps(found.corners[order], wanted.corners[there])
    shared[kinds[:, None] != goals[None]] = -1
    free = np.ones((len(levels), len(goals)), bool)
    hits = np.zeros((len(kinds), len(levels)))
    for box in np.flatnonzero((shared >= levels.min()).any(1)):
        possible = np.where(free & (shared[box] >= levels[:, None]), shared[box], -1)
        # Of labelled boxes with equal overlaps the last is taken, as pycocotools does.
        best = len(goals) - 1 - possible[:, ::-1].argmax(1)
        right = possible.max(1) >= 0
        free[right, best[right]] = False
        hits[box] = right
    labelled = np.bincount(goals.astype(np.int64), minlength=classes)
    return np.concatenate([kinds, scores, hits.ravel(), labelled])


def _most_of_each(kinds: Array) -> Array:
    """Classes (B,) of boxes in the order of their scores; none for those past `MOST_BOXES`."""
    kept = np.array(kinds)
    for kind in np.unique(kinds):
        kept[np.flatnonzero(kinds == kind)[MOST_BOXES:]] = IGNORED
    return kept


def _columns(numbers: Floats, levels: int, classes: int) -> _Columns:
    """Return the numbers of images (N, K) as those of all boxes, and the labels of each class."""
    boxes = (numbers.shape[1] - classes) // (2 + levels)
    kinds, scores, hits, labelled = np.split(
        numbers, np.cumsum([boxes, boxes, boxes * levels]), axis=1
    )
    return _Columns(kinds.ravel(), scores.ravel(), hits.reshape(-1, levels), labelled.sum(0))


def _mean_precision(given: _Columns) -> float:
    """Return the mean over classes that have labels, and over thresholds; NaN if none has any."""
    order = np.argsort(-given.scores, kind="stable")
    kinds, hits = given.classes[order], given.hits[order]
    found = [
        _precision(hits[kinds == kind], count)
        for kind, count in enumerate(given.labelled)
        if count > 0
    ]
    return float(np.mean(found)) if found else float("nan")


def _precision(hits: Floats, labelled: float) -> Floats:
    """Return the interpolated precision (T,) of one class's boxes (B, T), best scores first."""
    right = hits.cumsum(0)
    precision = right / np.arange(1, len(hits) + 1)[:, None]
    # At each recall the best precision that a greater recall still has.
    precision = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    padded = np.concatenate([precision, np.zeros((1, hits.shape[1]))])
    at = np.stack([np.searchsorted(recall, _RECALLS) for recall in (right / labelled).T])
    return np.asarray(np.take_along_axis(padded, at.T, axis=0).mean(0))
