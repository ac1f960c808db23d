"""A teacher that computes its answers when it is called."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from compress.core.batch import model_inputs
from compress.core.context import Batch, Task
from compress.distillation.answers import Answers
from compress.distillation.hidden import LAST_HIDDEN, head_of, last_hidden
from compress.distillation.taps import Taps
from compress.tasks.outputs import joined
from compress.training.augmentation.mixing import mixed_embeddings
from compress.training.options import Precision


class LiveTeacher:
    """A teacher that runs on the same batch as the student, augmentation included.

    Parameters
    ----------
    module : on the batches' device; it is put in eval mode, and gets no gradients.
    taps : record the features and attention weights to return.
    precision : precision of its arithmetic.
    head : False leaves out the output layer. `Answers.features` then holds the last hidden states
        (N, S, H) under `LAST_HIDDEN`, and there are no logits.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        task: Task,
        taps: Taps,
        precision: Precision = "fp32",
        head: bool = True,
    ) -> None:
        self.module = module.eval().requires_grad_(False)
        self._task, self._taps, self._precision, self._head = task, taps, precision, head

    def __call__(self, batch: Batch) -> Answers:
        """See `compress.distillation.answers.Teacher`."""
        with torch.no_grad(), self._autocast(batch):
            return answers(self.module, batch, task=self._task, taps=self._taps, head=self._head)

    def _autocast(self, batch: Batch) -> AbstractContextManager[None]:
        device = next(iter(batch.values())).device.type
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self._precision)
        return torch.autocast(device, dtype=dtype, enabled=dtype is not None)


def answers(module: nn.Module, batch: Batch, *, task: Task, taps: Taps, head: bool) -> Answers:
    """Run a model, student or teacher, on a batch.

    Parameters
    ----------
    head : see `LiveTeacher`.

    Raises
    ------
    StageError : a tapped module doesn't return a tensor.
    """
    inputs = model_inputs(batch)
    logits: Tensor | None = None
    outputs: dict[str, Tensor] = {}
    with mixed_embeddings(module, batch), taps.recording(module) as (features, attentions):
        if head:
            outputs = task.named_outputs(module, inputs)
            logits = joined(list(outputs.values()))
        else:
            features[LAST_HIDDEN] = last_hidden(module, inputs)
    return Answers(
        logits, features, attentions, head=None if head else head_of(module), outputs=outputs
    )
