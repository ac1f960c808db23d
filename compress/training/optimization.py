"""The optimizer, and the learning rate at each of its steps."""

from __future__ import annotations

import importlib.util
import math
from typing import Any, Literal

import torch
from torch import nn

from compress.errors import StageError
from compress.training.options import TrainingOptions


def make_optimizer(
    module: nn.Module, options: TrainingOptions, *, fused: bool = True
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, 2019), AdamW with its state in 8 bits (Dettmers et al., 2022),
    or SGD with Nesterov momentum, over the parameters that require gradients.

    Weight decay leaves out parameters of one dimension (biases, normalisations).

    Raises
    ------
    StageError : bitsandbytes is needed and isn't installed.
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else kept).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.learning_rate, fused=fused)
    if options.optimizer == "adamw_8bit":
        return _eight_bit(groups, options)
    return torch.optim.SGD(
        groups, lr=options.learning_rate, momentum=0.9, nesterov=True, fused=fused
    )


def _eight_bit(groups: list[dict[str, Any]], options: TrainingOptions) -> torch.optim.Optimizer:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise StageError(
            "optimizer 'adamw_8bit' needs bitsandbytes: pip install 'compress[bitsandbytes]'."
        )
    import bitsandbytes

    kind: Any = bitsandbytes.optim.AdamW8bit  # type: ignore[attr-defined]
    optimizer: torch.optim.Optimizer = kind(groups, lr=options.learning_rate)
    return optimizer


def check_eight_bit(optimizer: torch.optim.Optimizer) -> None:
    """Try one step of an 8-bit optimizer on a tensor made for that.

    Raises
    ------
    StageError : bitsandbytes has no such kernel for this device.
    """
    device = optimizer.param_groups[0]["params"][0].device
    probe = nn.Parameter(torch.zeros(8192, device=device))
    probe.grad = torch.ones_like(probe)
    try:
        kind: Any = type(optimizer)
        kind([probe], lr=1e-3).step()
    except (NotImplementedError, RuntimeError, ValueError) as error:
        raise StageError(
            f"optimizer 'adamw_8bit' can't run on this device ({device}): {error}. Use adamw."
        ) from error


def learning_rate_factor(
    step: int,
    *,
    total: int,
    warmup: float,
    schedule: Literal["linear", "cosine", "constant"],
) -> float:
    """The factor of the peak learning rate at a step.

    Parameters
    ----------
    step : the optimizer step, from 0 to total - 1.
    total : number of optimizer steps in the whole training.
    warmup : fraction of the steps over which the factor rises linearly to 1.

    Returns
    -------
    A factor in (0, 1]. It is never 0, so that no step is wasted.
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
