"""Re-estimates the running statistics of batch normalisation after a model has changed."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from compress.core.batch import model_inputs
from compress.core.context import Batch, Task
from compress.training.batches import sample_count, smallest_batch


def has_statistics(module: nn.Module) -> bool:
    """Return whether a module has running statistics that can be re-estimated."""
    return any(True for _ in _normalisations(module))


def reestimate(module: nn.Module, batches: Iterable[Batch], *, task: Task) -> tuple[nn.Module, int]:
    """A copy with running statistics of the batches, and the number of samples seen.

    A cut changes the inputs of later layers, whose old statistics belong to the whole model. The
    new ones are the plain average over the batches. All other layers run in eval mode.

    Parameters
    ----------
    module : the module, in eval mode; it is left as it was.
    batches : the batches; one that is too small to normalise over (one sample) is left out.
    task : runs the module.
    """
    renewed = copy.deepcopy(module)
    least, seen = smallest_batch(renewed), 0
    momenta = {}
    for part in _normalisations(renewed):
        momenta[part] = part.momentum
        part.reset_running_stats()
        part.momentum = None  # for torch this means the average over all batches
        part.train()
    with torch.no_grad():
        for batch in batches:
            if sample_count(batch) < least:
                continue
            task.logits(renewed, model_inputs(batch))
            seen += sample_count(batch)
    for part, momentum in momenta.items():
        part.momentum = momentum
    return renewed.eval(), seen


def _normalisations(module: nn.Module) -> Iterable[_BatchNorm]:
    return (
        part
        for part in module.modules()
        if isinstance(part, _BatchNorm) and part.track_running_stats
    )
