"""The optimizer, and the learning rate at each of its steps."""

import math
from typing import Literal

import torch
from torch import nn

from compress.training.options import TrainingOptions


def make_optimizer(module: nn.Module, options: TrainingOptions) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2019) or SGD with Nesterov momentum over what needs gradients.

    Parameters of one dimension (biases, normalisations) aren't decayed.
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else kept).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.learning_rate, fused=True)
    return torch.optim.SGD(
        groups, lr=options.learning_rate, momentum=0.9, nesterov=True, fused=True
    )


def learning_rate_factor(
    step: int,
    *,
    total: int,
    warmup: float,
    schedule: Literal["linear", "cosine", "constant"],
) -> float:
    """What the peak learning rate is multiplied by.

    Parameters
    ----------
    step : the optimizer step, from 0 to total - 1.
    total : optimizer steps in the whole training.
    warmup : fraction of them over which the factor rises linearly to 1.

    Returns
    -------
    In (0, 1]: no step is wasted on a learning rate of zero.
    """
    rising = math.ceil(warmup * total)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(1, total - rising)
    if schedule == "linear":
        return 1 - done
    if schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 1.0


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give every parameter group this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
