"""How good a module is on the validation split, while it is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from compress.core.batch import IGNORED, LABELS, model_inputs
from compress.core.context import Batch, Task
from compress.errors import StageError


@dataclass(frozen=True)
class Score:
    """Of one validation.

    Attributes
    ----------
    accuracy : fraction in [0, 1] of labels that are the largest logit.
    loss : cross-entropy, averaged over labels.
    """

    accuracy: float
    loss: float

    def beats(self, other: Score) -> bool:
        """Whether its accuracy is higher, or the same at a lower loss."""
        return (self.accuracy, -self.loss) > (other.accuracy, -other.loss)


def validate(
    module: nn.Module,
    batches: Iterable[Batch],
    *,
    task: Task,
    autocast: Callable[[], AbstractContextManager[None]],
) -> Score:
    """Accuracy and cross-entropy of a module, put in eval mode, on batches of its own device.

    Labels of -100 don't count.

    Raises
    ------
    StageError : there is no label, or the loss isn't finite.
    """
    module.eval()
    right = loss = None
    count = 0
    with torch.no_grad():
        for batch in batches:
            with autocast():
                logits = task.logits(module, model_inputs(batch))
            logits = logits.float().flatten(0, -2)
            labels = batch[LABELS].flatten()
            counted = labels != IGNORED
            hits = ((logits.argmax(-1) == labels) & counted).sum()
            missed = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
            right = hits if right is None else right + hits
            loss = missed if loss is None else loss + missed
            count += int(counted.sum()) if labels.ndim > 1 else len(labels)
    if right is None or loss is None or not count:
        raise StageError("the validation split holds no label; the best epoch can't be chosen.")
    score = Score(accuracy=right.item() / count, loss=loss.item() / count)
    if not torch.isfinite(loss):
        raise StageError(
            f"the validation loss became {score.loss}. Lower 'learning_rate' or use precision fp32."
        )
    return score
