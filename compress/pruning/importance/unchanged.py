"""Runs a module in eval mode and restores its state afterwards."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(
    module: nn.Module, *, differentiate: Collection[nn.Parameter] = ()
) -> Iterator[torch.device]:
    """Run in eval mode, with gradients for the given parameters only; then restore the state.

    Yields
    ------
    The module's device.
    """
    modes = {part: part.training for part in module.modules()}
    flags = {each: each.requires_grad for each in module.parameters()}
    module.eval()
    for each in flags:
        each.requires_grad_(False)
    for each in differentiate:
        each.requires_grad_(True)
    try:
        yield next(iter(flags)).device
    finally:
        for part, mode in modes.items():
            part.training = mode
        for each, flag in flags.items():
            each.requires_grad_(flag)
