"""The weighted sum of losses, as `compress.training.loop.fit` takes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from compress.core.batch import LABELS, model_inputs
from compress.core.context import Batch, Task
from compress.distillation import losses as functions
from compress.distillation.options import Losses
from compress.errors import StageError
from compress.training.acceleration import placed_copy


class Objective:
    """The weighted sum of the response loss and the labels loss of a batch.

    The teacher answers the very batch that the student is given, augmentation included; it is a
    copy in eval mode that never receives gradients.

    Parameters
    ----------
    losses : which parts, and their weights; a part of weight 0 isn't computed.
    task : runs the modules.
    teacher : left as it was; needed where there is a response part.
    device : where the batches will be.

    Raises
    ------
    StageError : a response part without a teacher.
    """

    def __init__(
        self, losses: Losses, *, task: Task, teacher: nn.Module | None, device: str
    ) -> None:
        self._task = task
        self._response = losses.response if losses.response and losses.response.weight else None
        self._labels = losses.labels if losses.labels and losses.labels.weight else None
        self._teacher: nn.Module | None = None
        if self._response is not None:
            if teacher is None:
                raise StageError("the response loss needs a teacher. Got none.")
            self._teacher = placed_copy(teacher, device=device).eval().requires_grad_(False)

    def __call__(self, student: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The weighted parts, by name; their sum is the loss."""
        inputs = model_inputs(batch)
        logits = self._task.logits(student, inputs)
        parts: dict[str, Tensor] = {}
        if self._response is not None and self._teacher is not None:
            with torch.no_grad():
                target = self._task.logits(self._teacher, inputs)
            parts["response"] = self._response.weight * functions.response(
                logits, target, temperature=self._response.temperature
            )
        if self._labels is not None:
            parts["labels"] = self._labels.weight * functions.labels(
                logits, batch[LABELS], label_smoothing=self._labels.smoothing
            )
        return parts
