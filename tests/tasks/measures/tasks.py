"""Tasks of one's own that are judged by words and by boxes."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from compress import Input, Output, Task, TaskMetric
from compress.tasks.measures import Boxes, box_average_precision, word_error_rate

LETTERS = ["", " ", "a", "b"]
Arrays = Mapping[str, np.ndarray[Any, Any]]


def said(outputs: Arrays) -> list[str]:
    """The likeliest letter of each step; repeated ones count once (greedy CTC)."""
    steps = outputs["letters"].argmax(-1)
    return ["".join(LETTERS[one] for one, _ in groupby(row)) for row in steps]


def written(labels: Arrays) -> list[str]:
    return ["".join(LETTERS[one] for one in row) for row in labels["labels"]]


WORDS = word_error_rate(said, written)


class Dictation(Task):
    """The letters of a sound, learnt without their places (CTC)."""

    name = "dictation"
    inputs = (Input("sound"),)
    outputs = (Output("letters", "classes"),)
    class_names = False

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        return (WORDS,)

    def loss(self, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        steps = outputs["letters"].float().log_softmax(-1).transpose(0, 1)
        labels = batch["labels"]
        lengths = [torch.full((len(labels),), size) for size in (len(steps), labels.shape[1])]
        return F.ctc_loss(steps, labels, *lengths, zero_infinity=True)


def found(outputs: Arrays) -> Boxes:
    scores = np.exp(outputs["kind"]) / np.exp(outputs["kind"]).sum(-1, keepdims=True)
    low, high = outputs["box"][:, :2], outputs["box"][:, 2:]
    corners = np.hstack([np.minimum(low, high), np.maximum(low, high)])
    return Boxes(corners[:, None], scores.argmax(-1)[:, None], scores.max(-1)[:, None])


def labelled(labels: Arrays) -> Boxes:
    return Boxes(labels["box"][:, None], labels["kind"][:, None])


class Finding(Task):
    """A box and its kind."""

    name = "finding"
    inputs = (Input("table"),)
    outputs = (Output("box", "values"), Output("kind", "classes"))

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        half = box_average_precision(found, labelled, classes=2, thresholds=(0.5,), name="ap50")
        return (half, box_average_precision(found, labelled, classes=2))
