"""Metrics of scores of classes that torchmetrics has. Labels are classes (N,) or sets (N, C)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import IGNORED, LABELS
from compress.tasks.contract import TaskMetric
from compress.tasks.outputs import classes_last

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    Array = NDArray[Any]
    OfScores = Callable[[Array, Array], float]

TOP = 5


def matthews_corrcoef(scores: Array, labels: Array) -> float:
    """Matthews' correlation of predicted and true classes (Gorodkin, 2004), in [-1, 1]."""
    with _quietly():
        import torch
        from torchmetrics.functional.classification import multiclass_matthews_corrcoef

        said, wanted = torch.from_numpy(scores.argmax(1)), torch.from_numpy(labels)
        return float(multiclass_matthews_corrcoef(said, wanted, num_classes=scores.shape[1]))


def auroc(scores: Array, labels: Array) -> float:
    """Area under the receiver operating characteristic, of each class against the others.

    The mean over the classes that some samples have and others haven't.
    """
    with _quietly():
        from torchmetrics.functional.classification import multiclass_auroc, multilabel_auroc

        return _mean_over_classes(scores, labels, multiclass_auroc, multilabel_auroc)


def average_precision(scores: Array, labels: Array) -> float:
    """Area under the curve of precision over recall, of each class against the others.

    The mean over the classes that some samples have and others haven't (mAP).
    """
    with _quietly():
        from torchmetrics.functional.classification import (
            multiclass_average_precision,
            multilabel_average_precision,
        )

        return _mean_over_classes(
            scores, labels, multiclass_average_precision, multilabel_average_precision
        )


def in_top(scores: Array, labels: Array, *, most: int = TOP) -> NDArray[np.bool_]:
    """Whether a sample's class is among the classes with the highest scores, (N,).

    Of equal scores the first class comes first, as in a prediction.
    """
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    before = np.arange(scores.shape[1]) < labels[:, None]
    return np.asarray(((scores > own) | ((scores == own) & before)).sum(1) < most)


def of_scores(
    name: str, output: str, function: OfScores, *, prefix: str = "", class_axis: int = -1
) -> TaskMetric:
    """A task's metric from one of the functions above, over one class a sample or a place of it.

    -100 stands for no label.
    """

    def of_all(outputs: Mapping[str, Array], labels: Mapping[str, Array]) -> float:
        wanted = labels[output] if output in labels else labels[LABELS]
        known = wanted != IGNORED
        return function(classes_last(outputs[output], class_axis)[known], wanted[known])

    return TaskMetric(f"{prefix}{name}", of_all=of_all)


def _mean_over_classes(
    scores: Array,
    labels: Array,
    of_one: Callable[..., Tensor],
    of_sets: Callable[..., Tensor],
) -> float:
    import torch

    given = torch.from_numpy(np.ascontiguousarray(scores, np.float32))
    wanted = torch.from_numpy(np.ascontiguousarray(labels).astype(np.int64))
    classes = scores.shape[1]
    if labels.ndim == 2:
        each = of_sets(given.sigmoid(), wanted, num_labels=classes, average="none")
        counts = wanted.sum(0)
    else:
        each = of_one(given.softmax(1), wanted, num_classes=classes, average="none")
        counts = torch.bincount(wanted, minlength=classes)
    judged = (counts > 0) & (counts < len(labels))
    return float(each[judged].mean())


@contextmanager
def _quietly() -> Iterator[None]:
    """Leave out torchmetrics' warnings on absent classes; compute on one thread.

    The arrays are small, and torch's threads would wait for one another at each of many steps.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        torch.set_num_threads(threads)
