"""Metrics that tasks share: of classes, of numbers, and of agreement with the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import IGNORED, LABELS
from compress.tasks.contract import TaskMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Arrays = Mapping[str, Array]


def accuracy(output: str, *, prefix: str = "", class_axis: int = -1) -> TaskMetric:
    """The fraction of labels whose class has the highest score; (N, …) labels, -100 for none."""

    def rows(outputs: Arrays, labels: Arrays) -> Array:
        wanted = _labels(labels, output)
        right = (outputs[output].argmax(class_axis) == wanted) & (wanted != IGNORED)
        known = wanted != IGNORED
        return np.stack([_summed(right), _summed(known)], axis=1)

    return TaskMetric(f"{prefix}accuracy", rows=rows, value=quotient)


def mean_iou(output: str, *, prefix: str = "", class_axis: int = -1) -> TaskMetric:
    """Return the mean intersection over union (mIoU) of classes of pixels or other places.

    Of each class it is the number of places that are of this class by model and label, over the
    number of those that are by either, each over all samples together (Everingham et al., "The
    PASCAL Visual Object Classes Challenge: A Retrospective", 2015). The mean is over the classes
    that occur in labels or answers, as in torchmetrics' `multiclass_jaccard_index`.

    Parameters
    ----------
    output : name of the output of scores: (N, …, C), or (N, C, …) with `class_axis=1`. Labels are
        (N, …); -100 for none.
    prefix : beginning of the metric's name, for tasks with several outputs.
    class_axis : axis of the classes.
    """

    def rows(outputs: Arrays, labels: Arrays) -> Array:
        scores, wanted = outputs[output], _labels(labels, output)
        said, known = scores.argmax(class_axis), wanted != IGNORED
        counts = (
            _by_class(values, known & where, scores.shape[class_axis])
            for values, where in ((said, said == wanted), (said, known), (wanted, known))
        )
        return np.concatenate(list(counts), axis=1)

    return TaskMetric(f"{prefix}mean_iou", rows=rows, value=_mean_of_unions)


def agreement(output: str, *, prefix: str = "", class_axis: int = -1) -> TaskMetric:
    """The fraction of answers whose class of the highest score is the reference's."""

    def rows(outputs: Arrays, reference: Arrays) -> Array:
        same = outputs[output].argmax(class_axis) == reference[output].argmax(class_axis)
        return np.stack([_summed(same), _summed(np.ones_like(same))], axis=1)

    return TaskMetric(f"{prefix}agreement", needs_labels=False, rows=rows, value=quotient)


def closeness(output: str, *, prefix: str = "") -> TaskMetric:
    """The fraction of the reference's variance that the model's numbers explain (R²)."""

    def rows(outputs: Arrays, reference: Arrays) -> Array:
        return _moments(outputs[output], reference[output])

    return TaskMetric(
        f"{prefix}r2_to_reference", needs_labels=False, rows=rows, value=_determination
    )


def regression_metrics(output: str, *, prefix: str = "") -> list[TaskMetric]:
    """R² (the coefficient of determination), Pearson's and Spearman's correlation, and errors.

    Labels have the output's shape, or one less axis of size 1; NaN stands for no label. Over
    several numbers R² and Pearson's correlation are those of all numbers together.
    """

    def moments(outputs: Arrays, labels: Arrays) -> Array:
        return _moments(outputs[output], _labels(labels, output))

    def spearman(outputs: Arrays, labels: Arrays) -> float:
        from scipy.stats import spearmanr

        got, wanted = _known(outputs[output], _labels(labels, output))
        return float(spearmanr(got, wanted).statistic)

    return [
        TaskMetric(f"{prefix}r2", rows=moments, value=_determination),
        TaskMetric(f"{prefix}pearson", rows=moments, value=_pearson),
        TaskMetric(f"{prefix}spearman", of_all=spearman),
        TaskMetric(f"{prefix}mse", higher_is_better=False, rows=moments, value=_mse),
        TaskMetric(f"{prefix}rmse", higher_is_better=False, rows=moments, value=_rmse),
        TaskMetric(f"{prefix}mae", higher_is_better=False, rows=moments, value=_mae),
    ]


def _labels(labels: Arrays, output: str) -> Array:
    found: Array = labels[output] if output in labels else labels[LABELS]
    return found


def _summed(values: Array) -> Array:
    return np.asarray(values.reshape(len(values), -1).sum(1), np.float64)


def _by_class(values: Array, where: Array, classes: int) -> Array:
    """How often each class occurs in a sample, (N, C), where it counts; both given are (N, …)."""
    sample = np.nonzero(where)[0]
    found = np.bincount(sample * classes + values[where], minlength=len(values) * classes)
    return found.reshape(len(values), classes).astype(np.float64)


def _mean_of_unions(sums: Array) -> Array:
    """mIoU (R,) from sums (R, 3C): hits, predicted, labelled."""
    hits, predicted, labelled = np.split(sums, 3, axis=1)
    unions = predicted + labelled - hits
    return _over(
        np.divide(hits, unions, where=unions > 0, out=unions * 0).sum(1), (unions > 0).sum(1)
    )


def _known(got: Array, wanted: Array) -> tuple[Array, Array]:
    """All numbers with a label, in one axis."""
    wanted = np.asarray(wanted, np.float64).reshape(got.shape)
    known = np.isfinite(wanted)
    return np.asarray(got, np.float64)[known], wanted[known]


def _moments(got: Array, wanted: Array) -> Array:
    """Sums of each sample: count, x, y, x², y², xy, |x - y|, (x - y)²."""
    wanted = np.asarray(wanted, np.float64).reshape(got.shape)
    known = np.isfinite(wanted)
    x, y = np.where(known, got.astype(np.float64), 0), np.where(known, wanted, 0)
    each = (known, x, y, x * x, y * y, x * y, np.abs(x - y), (x - y) ** 2)
    return np.stack([_summed(values) for values in each], axis=1)


def quotient(sums: Array) -> Array:
    """The first of two sums (R, 2) over the second, (R,); NaN where that is 0."""
    return _over(sums[:, 0], sums[:, 1])


def _determination(sums: Array) -> Array:
    """1 - the squared errors over the labels' squared deviations."""
    count, y, yy, off = sums[:, 0], sums[:, 2], sums[:, 4], sums[:, 7]
    return np.asarray(1 - _over(off, yy - _over(y * y, count)))


def _pearson(sums: Array) -> Array:
    count, x, y, xx, yy, xy = (sums[:, at] for at in range(6))
    spread = np.sqrt(np.maximum(count * xx - x * x, 0) * np.maximum(count * yy - y * y, 0))
    return _over(count * xy - x * y, spread)


def _mse(sums: Array) -> Array:
    return _over(sums[:, 7], sums[:, 0])


def _rmse(sums: Array) -> Array:
    return np.asarray(np.sqrt(_mse(sums)))


def _mae(sums: Array) -> Array:
    return _over(sums[:, 6], sums[:, 0])


def _over(above: Array, below: Array) -> Array:
    """Quotients; NaN where the divisor is 0."""
    out = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out
