"""Scores of a student on the validation split during its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from compress.core.batch import IGNORED, LABELS, model_inputs
from compress.core.context import Batch, Target, Task
from compress.errors import StageError
from compress.training.distributed.processes import Processes

_LOSS, _RIGHT, _ENTRIES = "loss", "right", "entries"


@dataclass(frozen=True)
class Score:
    """The score of one validation.

    Attributes
    ----------
    metric : name of the figure that decides; between equal ones the lower loss does.
    higher_is_better : whether higher values of the metric are better.
    figures : figures by name; "loss" is always there. The metric isn't where it has no value, as a
        correlation of equal numbers: such a score is the worst.
    """

    metric: str
    higher_is_better: bool
    figures: Mapping[str, float]

    @property
    def value(self) -> float:
        """Value of the metric; the worst there is, if it has none."""
        return self.figures.get(self.metric, -math.inf if self.higher_is_better else math.inf)

    @property
    def loss(self) -> float:
        """Cross-entropy averaged over labels or tokens, the task's own, or the training loss."""
        return self.figures["loss"]

    def beats(self, other: Score) -> bool:
        """Return whether its metric is better, or the same at a lower loss."""
        sign = 1 if self.higher_is_better else -1
        return (sign * self.value, -self.loss) > (sign * other.value, -other.loss)

    def __str__(self) -> str:
        """The figures in words, such as "accuracy 0.9412, loss 0.2031"."""
        ordered = sorted(self.figures.items(), key=lambda figure: figure[0] != self.metric)
        return ", ".join(f"{name} {value:.4f}" for name, value in ordered)


def labelled_sums(task: Task, student: torch.nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    """Sums of a batch for a score: its loss, right answers and labelled entries.

    The loss is that of the task's target. It is cross-entropy for classes, binary cross-entropy
    over all entries for class sets, and cross-entropy of each token after the first for next
    tokens. For tasks of one's own see `compress.training.validation.own`.
    """
    logits = task.logits(student, model_inputs(batch)).float()
    labels = batch[LABELS]
    if task.target == "class-set":
        known = (labels >= 0).all(1)
        logits, labels = logits[known], labels[known].float()
        loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        right = (logits > 0) == (labels > 0.5)
        return _sums(loss, right.sum(), labels.new_tensor(labels.numel()))
    if task.target == "next-token":
        logits, labels = logits[:, :-1], labels[:, 1:]
    logits, labels = logits.flatten(0, -2), labels.flatten()
    known = labels != IGNORED
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    right = (logits.argmax(-1) == labels) & known
    return _sums(loss, right.sum(), known.sum())


def _sums(loss: Tensor, right: Tensor, entries: Tensor) -> Mapping[str, Tensor]:
    return {_LOSS: loss, _RIGHT: right, _ENTRIES: entries}


class BatchSums:
    """Adds up named sums of batches. They are read once from the device and all processes."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, sums: Mapping[str, Tensor]) -> None:
        """Add one batch's sums."""
        for name, value in sums.items():
            value = value.detach().double() if value.device.type == "cpu" else value.detach()
            held = self._sums.get(name)
            self._sums[name] = value if held is None else held + value

    def total(self, processes: Processes) -> dict[str, float]:
        """The sums over all processes. All processes must call it."""
        found: dict[str, float] = {}
        for each in processes.gather({name: value.item() for name, value in self._sums.items()}):
            for name, value in each.items():
                found[name] = found.get(name, 0.0) + value
        return found


def score_of(target: Target, sums: Mapping[str, float]) -> Score | None:
    """The score for the sums of `labelled_sums` over all batches; None if nothing had a label.

    Raises
    ------
    StageError : the loss isn't finite.
    """
    entries = sums.get(_ENTRIES, 0)
    if not entries:
        return None
    loss, accuracy = finite(sums[_LOSS] / entries), sums[_RIGHT] / entries
    if target == "next-token":
        # e^710 exceeds a float; such a model is useless in any case.
        figures = {"perplexity": math.exp(min(loss, 700.0)), "loss": loss, "accuracy": accuracy}
        return Score("perplexity", higher_is_better=False, figures=figures)
    figures = {"accuracy": accuracy, "loss": loss}
    if target == "class-set":
        return Score("loss", higher_is_better=False, figures=figures)
    return Score("accuracy", higher_is_better=True, figures=figures)


def finite(loss: float) -> float:
    """Return the loss unchanged if it is finite.

    Raises
    ------
    StageError : the loss isn't finite.
    """
    if not math.isfinite(loss):
        raise StageError(
            f"the validation loss became {loss}. Lower 'learning_rate' or use precision fp32."
        )
    return loss
